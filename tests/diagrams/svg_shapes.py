"""Reads an SVG back as shapes in places, to see what covers what."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from lxml import etree

from buildflow.diagrams.svg.scene import text_width

_NS = "{http://www.w3.org/2000/svg}"


@dataclass(frozen=True)
class Rect:
    """A box; for a text, the box that its letters fill."""

    x: float
    y: float
    width: float
    height: float
    text: str = ""

    def overlaps(self, other: Rect, by: float = 0.5) -> bool:
        """Whether the two share more than `by` in both directions."""
        return (
            min(self.x + self.width, other.x + other.width) - max(self.x, other.x) > by
            and min(self.y + self.height, other.y + other.height) - max(self.y, other.y) > by
        )


@dataclass
class Shapes:
    """What a picture holds, in its own coordinates."""

    width: float
    height: float
    texts: list[Rect] = field(default_factory=list)
    boxes: list[Rect] = field(default_factory=list)
    lines: list[Rect] = field(default_factory=list)  # straight pieces of paths, without thickness


def read_shapes(svg: bytes) -> Shapes:
    """The shapes of a picture that svg/scene.py wrote."""
    root = etree.fromstring(svg)
    shapes = Shapes(_number(root, "width"), _number(root, "height"))
    _walk(root, 0.0, 0.0, shapes)
    return shapes


def _number(element: etree._Element, name: str) -> float:
    value = element.get(name)
    assert value is not None
    return float(value)


def _walk(element: etree._Element, dx: float, dy: float, shapes: Shapes) -> None:
    for child in element:
        tag = str(child.tag).removeprefix(_NS)
        if tag == "g":
            move = re.fullmatch(
                r"translate\((\S+) (\S+)\)", child.get("transform", "translate(0 0)")
            )
            assert move is not None
            _walk(child, dx + float(move[1]), dy + float(move[2]), shapes)
        elif tag == "rect" and child.get("x") is not None:
            x, y, width, height = (_number(child, k) for k in ("x", "y", "width", "height"))
            shapes.boxes.append(Rect(x + dx, y + dy, width, height))
        elif tag == "polygon":
            points = [tuple(map(float, p.split(","))) for p in str(child.get("points")).split()]
            xs, ys = [p[0] for p in points], [p[1] for p in points]
            if len(points) > 3:  # a hexagon, not an arrow's head
                shapes.boxes.append(
                    Rect(min(xs) + dx, min(ys) + dy, max(xs) - min(xs), max(ys) - min(ys))
                )
        elif tag == "text":
            shapes.texts.append(_text(child, dx, dy))
        elif tag == "path":
            shapes.lines.extend(_pieces(str(child.get("d")), dx, dy))


def _text(child: etree._Element, dx: float, dy: float) -> Rect:
    size, text = _number(child, "font-size"), child.text or ""
    width = text_width(text, size)
    left = {"start": 0.0, "middle": width / 2, "end": width}[child.get("text-anchor", "start")]
    base = _number(child, "y") + dy
    return Rect(_number(child, "x") + dx - left, base - size * 0.75, width, size * 0.95, text)


def _pieces(d: str, dx: float, dy: float) -> list[Rect]:
    numbers = re.findall(r"([MLQ])([^MLQ]*)", d)
    here, found = (0.0, 0.0), []
    for command, values in numbers:
        coords = list(map(float, values.split()))
        there = (coords[-2] + dx, coords[-1] + dy)
        if command == "L":
            found.append(
                Rect(
                    min(here[0], there[0]), min(here[1], there[1]),
                    abs(here[0] - there[0]), abs(here[1] - there[1]),
                )
            )  # fmt: skip
        here = there
    return found
