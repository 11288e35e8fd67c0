"""The call diagram in Graphviz's language."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from buildflow.diagrams.dot.legend import legend_node, outcome_rows
from buildflow.diagrams.dot.syntax import attributes, head, label, outcome_attributes
from buildflow.diagrams.overlay import NodeRun
from buildflow.diagrams.selection import Call, box_text
from buildflow.diagrams.theme import outcome_name


def call_dot(top: Call, runs: Mapping[str, NodeRun] | None = None) -> str:
    """`top` and what it calls; with `runs`, how each went in its box."""
    return "".join(_lines(top, runs or {}))


def _lines(top: Call, runs: Mapping[str, NodeRun]) -> Iterator[str]:
    yield head(top.node.text, rankdir="LR", nodesep=0.15, ranksep=0.35, splines="polyline")
    used: set[str] = set()
    waiting: list[tuple[Call, str]] = [(top, "")]
    edges = []
    number = 0
    while waiting:
        call, above = waiting.pop()
        name = f"n{number}"
        number += 1
        lines = [box_text(call.node)]
        values: dict[str, str | float] = {}
        run = runs.get(call.node.key)
        if run is not None:
            look = outcome_name(run.outcome, run.failed)
            used.add(look)
            lines.append(run.words())
            values.update(outcome_attributes(look))
        yield f"  {name} {attributes({'label': label(lines), **values})};\n"
        if above:
            edges.append(f"  {above} -> {name} [dir=none];\n")
        waiting.extend((inner, name) for inner in reversed(call.calls))
    yield from edges
    yield legend_node(outcome_rows(used))
    yield "}\n"
