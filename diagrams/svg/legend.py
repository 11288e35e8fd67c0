"""Legends: samples of what a picture uses, with the words for them."""

from __future__ import annotations

from collections.abc import Iterable

from buildflow.diagrams.svg.scene import SMALL, Scene, text_width
from buildflow.diagrams.theme import EDGES, OUTCOMES, STATES
from buildflow.states import Kind, Stability

_ROW = 22.0
_SAMPLE = 44.0


def edge_legend(kinds: Iterable[Kind], stabilities: Iterable[Stability]) -> Scene:
    """The kinds of edges and states that occur, in a block."""
    scene = Scene()
    y = 10.0
    wanted = set(kinds)
    for kind, look in EDGES.items():
        if kind in wanted:
            colour = f"edge-{kind.value}"
            scene.path([(0, y), (_SAMPLE - 7, y)], stroke=colour, dash=look.dash, weight=look.width)
            scene.head((_SAMPLE, y), "right", look.head, colour)
            words = f"{kind.value}: {look.means}"
            scene.text(_SAMPLE + 10, y, words, size=SMALL, colour="quiet")
            y += _ROW
    y = 10.0
    left = scene.right + 28 if scene.parts else 0.0
    known = set(stabilities)
    for stability, shape in STATES.items():
        if stability in known:
            state_shape(scene, left, y - 8, _SAMPLE, 16, stability)
            words = f"{stability.value}: {shape.means}"
            scene.text(left + _SAMPLE + 10, y, words, size=SMALL, colour="quiet")
            y += _ROW
    return scene


def state_shape(
    scene: Scene,
    x: float,
    y: float,
    width: float,
    height: float,
    stability: Stability,
    *,
    fill: str = "box",
    stroke: str = "ink",
    weight: float = 1.4,
    tip: str = "",
) -> None:
    """The outline of a state."""
    outline = STATES[stability].outline
    if outline == "hexagon":
        cut = min(12.0, height / 2)
        points = [
            (x + cut, y),
            (x + width - cut, y),
            (x + width, y + height / 2),
            (x + width - cut, y + height),
            (x + cut, y + height),
            (x, y + height / 2),
        ]
        scene.polygon(points, fill=fill, stroke=stroke, weight=weight, tip=tip)
        return
    dash, radius = ("5 3", 8.0) if outline == "dashed" else ("", 0.0)
    scene.rect(
        x,
        y,
        width,
        height,
        fill=fill,
        stroke=stroke,
        weight=weight,
        dash=dash,
        radius=radius,
        tip=tip,
    )
    if outline == "double":
        scene.rect(x + 3, y + 3, width - 6, height - 6, fill="", stroke=stroke, radius=0.0)


def outcome_legend(names: Iterable[str], width: float) -> Scene:
    """The outcomes that occur, side by side, in as many rows as `width` needs."""
    scene = Scene()
    x, y = 0.0, 10.0
    wanted = set(names)
    for name, look in OUTCOMES.items():
        if name not in wanted:
            continue
        words = f"{look.mark} {look.word}"
        needed = 28 + text_width(words, SMALL) + 18
        if x and x + needed > width:
            x, y = 0.0, y + _ROW
        scene.rect(
            x, y - 7, 22, 14, fill=f"{name}-fill", stroke=f"{name}-line", dash=look.dash, weight=1.6
        )
        scene.text(x + 28, y, words, size=SMALL, colour="quiet")
        x += needed
    return scene
