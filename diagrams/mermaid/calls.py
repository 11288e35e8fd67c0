"""The call diagram as Mermaid: a box for each call, a line from its caller."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from buildflow.diagrams.glyphs import shown
from buildflow.diagrams.mermaid.syntax import outcome_classes, quote
from buildflow.diagrams.overlay import NodeRun
from buildflow.diagrams.selection import Call, box_text
from buildflow.diagrams.theme import OUTCOMES, outcome_name


def call_mermaid(top: Call, runs: Mapping[str, NodeRun] | None = None) -> str:
    """`top` and what it calls; with `runs`, how each went as a line in its box and by its class."""
    return "".join(_lines(top, runs or {}))


def _lines(top: Call, runs: Mapping[str, NodeRun]) -> Iterator[str]:
    yield "flowchart LR\n"
    used: dict[str, list[str]] = {}
    edges = []
    waiting: list[tuple[Call, str]] = [(top, "")]
    number = 0
    while waiting:
        call, above = waiting.pop()
        name = f"n{number}"
        number += 1
        text = quote(shown(box_text(call.node)))
        run = runs.get(call.node.key)
        if run is not None:
            look = outcome_name(run.outcome, run.failed)
            used.setdefault(look, []).append(name)
            text = f"{OUTCOMES[look].mark} {text}<br/>{quote(shown(run.words()))}"
        yield f'  {name}["{text}"]\n'
        if above:
            edges.append(f"  {above} --- {name}\n")
        waiting.extend((inner, name) for inner in reversed(call.calls))
    yield from edges
    yield from outcome_classes(used)
    for look, names in used.items():
        yield f"  class {','.join(names)} {look}\n"
