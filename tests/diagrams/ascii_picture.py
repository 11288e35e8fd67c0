"""Reads boxes and lines out of an ASCII picture: which box hangs on which, in what order."""

from __future__ import annotations

import re
from dataclasses import dataclass

_HUNG = re.compile(r"^.*?(?P<line>\+-+)\|(?P<label>.*)\|\s*$")
_FIRST = re.compile(r"^(?P<line>)\|(?P<label>.*)\|\s*$")


@dataclass(frozen=True)
class Box:
    """One box: its text, and the text of the box that it hangs on."""

    label: str
    parent: str | None


def read_picture(picture: str) -> list[Box]:
    """The boxes from the top down.

    A box hangs on the last one above it that begins farther left. Every box must have an upper and
    a lower edge, and every one but the first a line that leads to it.
    """
    lines = picture.splitlines()
    boxes: list[Box] = []
    open_boxes: list[tuple[int, str]] = []
    for number, line in enumerate(lines):
        match = _HUNG.match(line) or (_FIRST.match(line) if not boxes else None)
        if match is None:
            continue
        column, label = match.start("label") - 1, match["label"].strip()
        for edge in (lines[number - 1], lines[number + 1]):
            assert re.match(r"\+[-+]+\+", edge[column:]), f"{label!r} has no edge in {edge!r}"
        while open_boxes and open_boxes[-1][0] >= column:
            open_boxes.pop()
        parent = open_boxes[-1][1] if open_boxes else None
        assert (parent is None) == (not match["line"]), f"no line leads to the box {label!r}"
        boxes.append(Box(label, parent))
        open_boxes.append((column, label))
    return boxes
