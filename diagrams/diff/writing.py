"""`diff`: a comparison as text or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from buildflow.diagrams.diff.comparison import Change, Verdict, compare, worst
from buildflow.diagrams.diff.flight import Flight, flights
from buildflow.diagrams.diff.sources import Snapshot, load
from buildflow.diagrams.glyphs import columns, padded, shown
from buildflow.errors import BadInput

_MEANS = {
    Verdict.SURVIVES: "builds in flight go on",
    Verdict.ROLLS_BACK: "builds in flight can't go on, but roll back and leave nothing",
    Verdict.BREAKS: "builds in flight can neither go on nor end cleanly with the new version",
}
_SIGNS = {"added": "+", "removed": "-", "changed": "~", "moved": ">"}


def diff(
    a: str,
    b: str,
    *,
    format: str = "text",
    what: str | None = None,
    builds: Iterable[Mapping[str, Any]] = (),
    repository: Path | None = None,
    say: Callable[[str], None] | None = None,
) -> bytes:
    """What differs from `a` to `b`, each a saved JSON file or a git revision, with verdicts.

    `what` keeps one part: flow, vm, task, power or joint. `builds` are dicts as `buildflow show`
    prints them: each that is in flight gets a verdict of its own. `say` is told what takes a while.
    Raises BadInput or HostUnusable.
    """
    if format not in ("text", "json"):
        raise BadInput(f"a diff is written as text or json, not {format}")
    with ThreadPoolExecutor(2) as both:  # each revision is drawn by a process of its own
        old, new = both.map(partial(load, repository=repository, say=say), (a, b))
    if what is not None:
        old, new = _part(old, what, a), _part(new, what, b)
    elif len(old) != len(new):  # one model on one side: compare that one alone
        common = [name for name in old if name in new]
        if not common:
            raise BadInput(f"{a} holds {', '.join(old)}, {b} holds {', '.join(new)}")
        old, new = {n: old[n] for n in common}, {n: new[n] for n in common}
    changes, in_flight = compare(old, new), flights(builds, old, new)
    if format == "json":
        data = {
            "kind": "diff",
            "version": 1,
            "a": a,
            "b": b,
            "verdict": worst(changes).value,
            "changes": [asdict(change) for change in changes],
            "builds": [asdict(flight) for flight in in_flight],
        }
        return (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode()
    return ("\n".join(_lines(a, b, changes, in_flight)) + "\n").encode()


def _part(snapshot: Snapshot, what: str, where: str) -> Snapshot:
    if what not in snapshot:
        raise BadInput(f"{where} has no {what}: it holds {', '.join(snapshot)}")
    return {what: snapshot[what]}


def _lines(
    a: str, b: str, changes: tuple[Change, ...], in_flight: tuple[Flight, ...]
) -> Iterator[str]:
    if not changes:
        yield shown(f"{a} -> {b}: nothing differs; builds in flight go on")
    else:
        verdict = worst(changes)
        yield shown(f"{a} -> {b}: {verdict.value}: {_MEANS[verdict]}")
    width = max((columns(shown(change.item)) for change in changes), default=0)
    for part in dict.fromkeys(change.part for change in changes):
        yield ""
        yield part
        for change in (c for c in changes if c.part == part):
            item = padded(shown(change.item), width)
            yield shown(f"  {_SIGNS[change.how]} {item}  {change.detail}").rstrip()
            yield shown(f"      {change.verdict.value}: {change.why}")
    if in_flight:
        yield ""
        stopped = sum(flight.verdict is not Verdict.SURVIVES for flight in in_flight)
        yield f"builds in flight: {len(in_flight)}, of which {stopped} can't go on"
        for flight in in_flight:
            yield shown(f"  {flight.name} ({flight.status}) {flight.verdict.value}: {flight.why}")
