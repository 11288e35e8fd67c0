"""Quoting for Graphviz, and the attributes that all its pictures share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from buildflow.diagrams.glyphs import shown
from buildflow.diagrams.theme import OUTCOMES

FONT: Final = "DejaVu Sans Mono"
FONT_SIZE: Final = 11

HEADS: Final = {"arrow": "normal", "cross": "tee", "circle": "odot", "open": "vee"}


def quoted(text: str) -> str:
    """`text` as a Graphviz string, where only quotes and backslashes mean something."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def label(lines: Iterable[str], *, left: bool = False) -> str:
    """Several lines as one label, each in the middle or with `left` at the left."""
    clean = [quoted(shown(line))[1:-1] for line in lines]
    text = "".join(f"{line}\\l" for line in clean) if left else "\\n".join(clean)
    return f'"{text}"'


def html(text: str) -> str:
    """`text` for an HTML-like label."""
    for char, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(char, entity)
    return text


def attributes(values: Mapping[str, str | float | int]) -> str:
    """An attribute list; strings that are already quoted or HTML stay as they are."""
    parts = []
    for key, value in values.items():
        text = str(value)
        if not text.startswith(('"', "<")):
            text = quoted(text)
        parts.append(f"{key}={text}")
    return f"[{', '.join(parts)}]"


def head(name: str, **graph: str | float) -> str:
    """The beginning of a digraph, up to its first node."""
    look: dict[str, str | float] = {"fontname": FONT, "fontsize": FONT_SIZE}
    return (
        f"digraph {quoted(shown(name))} {{\n"
        f"  graph {attributes({**look, 'bgcolor': 'white', **graph})};\n"
        f"  node {attributes({**look, 'shape': 'box', 'margin': '0.12,0.06'})};\n"
        f"  edge {attributes({**look, 'fontsize': FONT_SIZE - 1})};\n"
    )


def outcome_attributes(name: str) -> dict[str, str | float]:
    """The looks of a box whose step went as the outcome `name` says."""
    look = OUTCOMES[name]
    style = "filled,dashed" if look.dash else "filled"
    return {"style": style, "fillcolor": look.fill, "color": look.stroke, "penwidth": 2}
