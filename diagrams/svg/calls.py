"""The call diagram as SVG: the documented boxes and lines, or a compact tree."""

from __future__ import annotations

from collections.abc import Mapping

from buildflow.diagrams.overlay import NodeRun
from buildflow.diagrams.selection import Call, Style, box_text
from buildflow.diagrams.svg.legend import outcome_legend
from buildflow.diagrams.svg.scene import SIZE, SMALL, Scene, text_width
from buildflow.diagrams.theme import OUTCOMES, outcome_name

_HEIGHT = {Style.DOCUMENTED: 28.0, Style.TREE: 21.0}
_GAP = {Style.DOCUMENTED: 10.0, Style.TREE: 0.0}
_INDENT = 44.0
_STEM = 18.0
_PAD = 10.0


def call_scene(
    top: Call, style: Style, runs: Mapping[str, NodeRun] | None = None, title: str = "call diagram"
) -> Scene:
    """`top` and what it calls; with `runs`, how each went in its box's look and beside it."""
    scene = Scene(title)
    known = runs or {}
    height, step = _HEIGHT[style], _HEIGHT[style] + _GAP[style]
    lines = Scene()  # painted first: boxes cover where lines begin
    boxes = Scene()
    places: dict[int, float] = {}  # the middle of the last box drawn at each level
    row = 0
    waiting: list[tuple[Call, int]] = [(top, 0)]
    starts: dict[int, float] = {}  # where the line of each level's caller begins
    while waiting:
        call, level = waiting.pop()
        x, y = level * _INDENT, row * step
        middle = y + height / 2
        _box(boxes, call, x, y, height, style, known.get(call.node.key))
        if level:
            stem = (level - 1) * _INDENT + _STEM
            top_of_line = max(places.get(level, 0.0), starts[level - 1])
            lines.path(
                [(stem, top_of_line), (stem, middle), (x, middle)], stroke="quiet", weight=1.4
            )
        places[level] = middle
        starts[level] = y + height
        places.pop(level + 1, None)
        row += 1
        waiting.extend((inner, level + 1) for inner in reversed(call.calls))
    scene.place(lines, 0, 0)
    scene.place(boxes, 0, 0)
    if known:
        names = [outcome_name(run.outcome, run.failed) for run in known.values()]
        scene.place(outcome_legend(names, max(scene.right, 420.0)), 0, scene.bottom + 18)
    return scene


def _box(
    scene: Scene, call: Call, x: float, y: float, height: float, style: Style, run: NodeRun | None
) -> None:
    text = box_text(call.node)
    name = outcome_name(run.outcome, run.failed) if run else ""
    look = OUTCOMES[name] if name else None
    label = f"{look.mark} {text}" if look else text
    width = text_width(label) + 2 * _PAD
    if style is Style.DOCUMENTED:
        scene.rect(
            x,
            y,
            width,
            height,
            fill=f"{name}-fill" if name else "box",
            stroke=f"{name}-line" if name else "ink",
            dash=look.dash if look else "",
            weight=1.8 if name else 1.3,
            tip=run.error if run else "",
        )
    start = x + (_PAD if style is Style.DOCUMENTED else 6.0)
    colour = f"{name}-line" if name and style is Style.TREE else "ink"
    bold = bool(call.calls) and style is Style.TREE
    scene.text(start, y + height / 2, label, size=SIZE, colour=colour, bold=bold)
    if run is not None:
        words = run.words()
        scene.text(x + width + 8, y + height / 2, words, size=SMALL, colour="quiet")
