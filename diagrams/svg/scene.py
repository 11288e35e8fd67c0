"""A picture as shapes in places, written as SVG.

Rules: texts stand in a fixed-pitch font, so that their width is known without any font at hand;
colours are named after what they are for, once for light paper and once for dark; nothing depends
on the order in which a set is walked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from buildflow.diagrams.glyphs import columns, shown
from buildflow.diagrams.theme import EDGES, OUTCOMES

FAMILY: Final = "'DejaVu Sans Mono', Menlo, Consolas, 'Liberation Mono', monospace"
SIZE: Final = 13.0
SMALL: Final = 11.0
PITCH: Final = 0.602  # of an em: how wide DejaVu Sans Mono is, and no common one is wider

COLOURS: Final[dict[str, tuple[str, str]]] = {
    "paper": ("#ffffff", "#15181c"),
    "ink": ("#1b1f23", "#e6e9ec"),
    "quiet": ("#57606a", "#9aa4ae"),
    "rule": ("#c4cad0", "#454d56"),
    "box": ("#f6f8fa", "#22272e"),
    "nest": ("#fbfcfd", "#1a1e23"),
    "data": ("#0b6e6e", "#5cc8c8"),
    **{f"edge-{kind.value}": (look.colour, look.dark) for kind, look in EDGES.items()},
    **{f"{name}-line": (look.stroke, look.dark_stroke) for name, look in OUTCOMES.items()},
    **{f"{name}-fill": (look.fill, look.dark_fill) for name, look in OUTCOMES.items()},
}


def text_width(text: str, size: float = SIZE) -> float:
    """How wide `text` stands."""
    return columns(shown(text)) * size * PITCH


def number(value: float) -> str:
    """A coordinate: one decimal, and none when it is 0."""
    text = f"{value:.1f}"
    text = text[:-2] if text.endswith(".0") else text
    return "0" if text == "-0" else text


Point = tuple[float, float]


@dataclass
class Scene:
    """Shapes in the order in which they are painted, and how far they reach."""

    title: str = ""
    parts: list[str] = field(default_factory=list)
    colours: dict[str, None] = field(default_factory=dict)  # used ones, in order
    right: float = 0.0
    bottom: float = 0.0

    # --- shapes --------------------------------------------------------------------------------

    def rect(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        fill: str = "box",
        stroke: str = "ink",
        dash: str = "",
        weight: float = 1.2,
        radius: float = 3.0,
        tip: str = "",
    ) -> None:
        """A box; `tip` is shown by a pointer that rests on it."""
        size = f'width="{number(width)}" height="{number(height)}" rx="{number(radius)}"'
        look = self._look(fill, stroke, dash, weight)
        self._add(f'<rect x="{number(x)}" y="{number(y)}" {size} {look}', "rect", tip)
        self._reach(x + width, y + height)

    def path(
        self,
        points: Sequence[Point],
        *,
        stroke: str = "ink",
        dash: str = "",
        weight: float = 1.2,
        radius: float = 0.0,
        tip: str = "",
    ) -> None:
        """A line through `points`; `radius` rounds its corners."""
        look = self._look("", stroke, dash, weight)
        self._add(f'<path d="{_route(points, radius)}" {look}', "path", tip)
        for x, y in points:
            self._reach(x, y)

    def polygon(
        self,
        points: Sequence[Point],
        *,
        fill: str,
        stroke: str = "",
        dash: str = "",
        weight: float = 1.2,
        tip: str = "",
    ) -> None:
        """A closed shape."""
        at = " ".join(f"{number(x)},{number(y)}" for x, y in points)
        look = self._look(fill, stroke, dash, weight)
        self._add(f'<polygon points="{at}" {look}', "polygon", tip)
        for x, y in points:
            self._reach(x, y)

    def circle(
        self, x: float, y: float, r: float, *, fill: str, stroke: str = "", weight: float = 1.2
    ) -> None:
        """A dot or a ring."""
        look = self._look(fill, stroke, "", weight)
        self._add(f'<circle cx="{number(x)}" cy="{number(y)}" r="{number(r)}" {look}', "circle", "")
        self._reach(x + r, y + r)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = SIZE,
        colour: str = "ink",
        bold: bool = False,
        italic: bool = False,
        anchor: str = "start",
    ) -> None:
        """One line; `y` is its middle."""
        clean = shown(text)
        if not clean.strip():
            return
        self.colours.setdefault(colour)
        style = ' font-weight="bold"' if bold else ""
        style += ' font-style="italic"' if italic else ""
        place = "" if anchor == "start" else f' text-anchor="{anchor}"'
        fill = f'class="f-{colour}" fill="{COLOURS[colour][0]}"'
        self.parts.append(
            f'<text x="{number(x)}" y="{number(y + size * 0.35)}" font-size="{number(size)}"'
            f'{place}{style} xml:space="preserve" {fill}>{escape(clean)}</text>'
        )
        width = text_width(clean, size)
        reach = {"start": width, "middle": width / 2, "end": 0.0}[anchor]
        self._reach(x + reach, y + size * 0.6)

    def head(self, tip: Point, towards: str, shape: str, colour: str) -> None:
        """The end of an edge: `shape` is arrow, open, cross or circle; `towards` its direction."""
        dx, dy = {"right": (1, 0), "left": (-1, 0), "down": (0, 1), "up": (0, -1)}[towards]
        x, y = tip

        def at(back: float, side: float) -> Point:
            return (x - dx * back - dy * side, y - dy * back + dx * side)

        if shape == "arrow":
            self.polygon([at(0, 0), at(9, 4), at(9, -4)], fill=colour)
        elif shape == "open":
            self.path([at(8, 4), at(0, 0), at(8, -4)], stroke=colour, weight=1.4)
        elif shape == "cross":
            self.path([at(3, 4.5), at(11, -4.5)], stroke=colour, weight=1.8)
            self.path([at(3, -4.5), at(11, 4.5)], stroke=colour, weight=1.8)
        else:
            self.circle(x - dx * 4.5, y - dy * 4.5, 4.5, fill="paper", stroke=colour, weight=1.6)

    # --- the whole -------------------------------------------------------------------------------

    def place(self, other: Scene, dx: float, dy: float) -> None:
        """Paint all of `other` here, moved by (`dx`, `dy`)."""
        self.colours.update(other.colours)
        self.parts.append(f'<g transform="translate({number(dx)} {number(dy)})">')
        self.parts.extend(other.parts)
        self.parts.append("</g>")
        self._reach(other.right + dx, other.bottom + dy)

    def svg(self, *, margin: float = 12.0, standalone: bool = True) -> str:
        """The picture as SVG text; without `standalone`, for use inside an HTML page."""
        width, height = self.right + 2 * margin, self.bottom + 2 * margin
        colours = dict.fromkeys(["paper", *self.colours])
        out = ['<?xml version="1.0" encoding="UTF-8"?>'] if standalone else []
        out.append(
            '<svg xmlns="http://www.w3.org/2000/svg" role="img"'
            f' viewBox="0 0 {number(width)} {number(height)}"'
            f' width="{number(width)}" height="{number(height)}"'
            f" aria-label={quoteattr(shown(self.title))} font-family={quoteattr(FAMILY)}>"
        )
        if standalone:
            out.append(f"<title>{escape(shown(self.title))}</title>")
            out.append(f"<style>{dark_rules(colours)}</style>")
        fill = f'class="f-paper" fill="{COLOURS["paper"][0]}"'
        out.append(f'<rect width="{number(width)}" height="{number(height)}" {fill}/>')
        out.append(f'<g transform="translate({number(margin)} {number(margin)})">')
        out.extend(self.parts)
        out.append("</g></svg>")
        return "\n".join(out) + "\n"

    def _look(self, fill: str, stroke: str, dash: str, weight: float) -> str:
        names, values = [], []
        if fill:
            self.colours.setdefault(fill)
            names.append(f"f-{fill}")
            values.append(f'fill="{COLOURS[fill][0]}"')
        else:
            values.append('fill="none"')
        if stroke:
            self.colours.setdefault(stroke)
            names.append(f"s-{stroke}")
            values.append(f'stroke="{COLOURS[stroke][0]}" stroke-width="{number(weight)}"')
        if dash:
            values.append(f'stroke-dasharray="{dash}"')
        return f'class="{" ".join(names)}" {" ".join(values)}'

    def _add(self, opening: str, tag: str, tip: str) -> None:
        if tip:
            self.parts.append(f"{opening}><title>{escape(shown(tip))}</title></{tag}>")
        else:
            self.parts.append(f"{opening}/>")

    def _reach(self, x: float, y: float) -> None:
        self.right, self.bottom = max(self.right, x), max(self.bottom, y)


def dark_rules(colours: Iterable[str]) -> str:
    """What changes on dark paper. The light colours stand on the shapes, for what knows no CSS."""
    rules = "".join(
        f".f-{name}{{fill:{COLOURS[name][1]}}}.s-{name}{{stroke:{COLOURS[name][1]}}}"
        for name in colours
    )
    return f"@media (prefers-color-scheme: dark){{{rules}}}"


def stacked(scenes: Sequence[Scene], title: str, gap: float = 36.0) -> Scene:
    """Several pictures one below the other."""
    whole = Scene(title)
    for scene in scenes:
        whole.place(scene, 0.0, whole.bottom + gap if whole.parts else 0.0)
    return whole


def _route(points: Sequence[Point], radius: float) -> str:
    """A path of straight lines whose corners are rounded."""
    if radius <= 0 or len(points) < 3:
        return "M" + " L".join(f"{number(x)} {number(y)}" for x, y in points)
    out = [f"M{number(points[0][0])} {number(points[0][1])}"]
    for before, here, after in zip(points, points[1:], points[2:], strict=False):
        first, last = _towards(here, before, radius), _towards(here, after, radius)
        out.append(f"L{number(first[0])} {number(first[1])}")
        out.append(f"Q{number(here[0])} {number(here[1])} {number(last[0])} {number(last[1])}")
    out.append(f"L{number(points[-1][0])} {number(points[-1][1])}")
    return " ".join(out)


def _towards(start: Point, goal: Point, distance: float) -> Point:
    dx, dy = goal[0] - start[0], goal[1] - start[1]
    length = max(abs(dx), abs(dy))
    share = min(distance, length / 2) / length if length else 0.0
    return (start[0] + dx * share, start[1] + dy * share)
