"""The compact call diagram: one line a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from buildflow.diagrams.glyphs import columns, padded, shown
from buildflow.diagrams.overlay import NodeRun
from buildflow.diagrams.selection import Call, box_text
from buildflow.diagrams.theme import OUTCOMES, outcome_name


def tree(top: Call, runs: Mapping[str, NodeRun] | None = None) -> str:
    """`top` and what it calls; with `runs`, a mark before each name and how it went after it."""
    if not runs:
        return "\n".join(line for _, line in branches(top)) + "\n"
    known = runs

    def marked(call: Call) -> str:
        run = known.get(call.node.key)
        mark = OUTCOMES[outcome_name(run.outcome, run.failed)].mark if run else " "
        return f"{mark} {shown(box_text(call.node))}"

    lines = list(branches(top, marked))
    width = max(columns(line) for _, line in lines)
    out = []
    for call, line in lines:
        run = known.get(call.node.key)
        out.append(f"{padded(line, width)}  {shown(run.words())}" if run else line)
    return "\n".join(out) + "\n"


def branches(
    top: Call, text: Callable[[Call], str] = lambda call: shown(box_text(call.node))
) -> Iterator[tuple[Call, str]]:
    """Each box with its line of the tree."""
    yield top, text(top)
    waiting: list[tuple[list[Call], str]] = [(list(top.calls), "")]
    while waiting:
        calls, left = waiting[-1]
        if not calls:
            waiting.pop()
            continue
        call = calls.pop(0)
        yield call, f"{left}{'├── ' if calls else '└── '}{text(call)}"
        waiting.append((list(call.calls), left + ("│   " if calls else "    ")))
