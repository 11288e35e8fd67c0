"""The legend of a Graphviz picture, as one node that is a table."""

from __future__ import annotations

from collections.abc import Iterable

from buildflow.diagrams.dot.syntax import html
from buildflow.diagrams.theme import OUTCOMES


def legend_node(rows: Iterable[tuple[str, str]]) -> str:
    """A node that explains each (colour, words); nothing when there is nothing to explain."""
    cells = "".join(
        f'<tr><td align="left"><font color="{colour}">{html(words)}</font></td></tr>'
        for colour, words in rows
    )
    if not cells:
        return ""
    table = f'<table border="1" cellborder="0" cellspacing="0" color="gray">{cells}</table>'
    return f"  legend [shape=plain, label=<{table}>];\n"


def outcome_rows(names: Iterable[str]) -> list[tuple[str, str]]:
    """A row for each outcome in `names`."""
    used = set(names)
    return [
        (look.stroke, f"{look.mark} {look.word}") for name, look in OUTCOMES.items() if name in used
    ]
