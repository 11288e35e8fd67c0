"""The documented call diagram: ASCII boxes hung on lines, as in the picture that it follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from buildflow.diagrams.glyphs import columns, padded, shown
from buildflow.diagrams.overlay import NodeRun
from buildflow.diagrams.selection import Call, box_text

_STEM = 4  # columns from a box's left edge to the line that its calls hang on


def boxes(top: Call, runs: Mapping[str, NodeRun] | None = None) -> str:
    """`top` and what it calls; with `runs`, how each went stands to the right of its box."""
    return "\n".join(line.rstrip() for line in _lines(top, runs or {})) + "\n"


def _lines(top: Call, runs: Mapping[str, NodeRun]) -> Iterator[str]:
    yield from _box(top, "", "", runs)
    # (calls still to draw, what stands left of them), the innermost last
    waiting: list[tuple[list[Call], str]] = [(list(top.calls), " " * _STEM)]
    while waiting:
        calls, left = waiting[-1]
        if not calls:
            waiting.pop()
            continue
        call = calls.pop(0)
        yield from _box(
            call, left + "|   ", left + "+---", runs, left + ("|   " if calls else "    ")
        )
        waiting.append((list(call.calls), left + ("|   " if calls else "    ") + " " * _STEM))


def _box(
    call: Call, above: str, beside: str, runs: Mapping[str, NodeRun], below: str = ""
) -> Iterator[str]:
    text = shown(box_text(call.node))
    edge = "+" + "-" * (max(columns(text), _STEM) + 2) + "+"
    run = runs.get(call.node.key)
    yield above + edge
    yield f"{beside}| {padded(text, len(edge) - 4)} |" + (f"  {shown(run.words())}" if run else "")
    yield below + (f"+{'-' * (_STEM - 1)}+{edge[_STEM + 1 :]}" if call.calls else edge)
