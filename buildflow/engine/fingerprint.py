"""What a flow looked like when a build was started, and whether today's still fits it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from taskflow import flow as tf_flow

from buildflow.errors import FlowChanged

Entry = dict[str, Any]


def atoms_of(flow: Any) -> Iterator[Any]:
    """The atoms of a flow in the order of its definition, retry controllers before their flow."""
    if not isinstance(flow, tf_flow.Flow):
        yield flow
        return
    if flow.retry is not None:
        yield flow.retry
    for node, _ in flow.iter_nodes():
        yield from atoms_of(node)


def fingerprint(flow: Any) -> list[Entry]:
    """One entry an atom: its name, its class and what it takes and gives. JSON."""
    return [
        {
            "name": atom.name,
            "class": f"{type(atom).__module__}:{type(atom).__qualname__}",
            "kind": getattr(atom, "kind", None),
            "requires": sorted(atom.requires),
            "provides": sorted(atom.provides),
        }
        for atom in atoms_of(flow)
    ]


def first_difference(stored: Sequence[Entry], current: Sequence[Entry]) -> tuple[str, str] | None:
    """(step, what differs) of the first entry that does not fit; None when all do."""
    for then, now in zip(stored, current, strict=False):
        if then == now:
            continue
        if then["name"] != now["name"]:
            return then["name"], f"step {then['name']!r} is {now['name']!r} now"
        changed = ", ".join(f for f in then if then[f] != now.get(f))
        return then["name"], f"step {then['name']!r} has changed ({changed})"
    if len(stored) > len(current):
        gone = stored[len(current)]["name"]
        return gone, f"step {gone!r} is no longer there"
    if len(current) > len(stored):
        new = current[len(stored)]["name"]
        return new, f"step {new!r} is new"
    return None


def require_fit(build: str, stored: Sequence[Entry], current: Sequence[Entry]) -> None:
    """Raises FlowChanged, naming the first step that differs."""
    difference = first_difference(stored, current)
    if difference is not None:
        raise FlowChanged(build, *difference)
