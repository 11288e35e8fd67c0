"""Where the parts of a flow stand: one row a node, nested boxes, and rails of data on their left.

A result gets one rail, from the step that gives it past all that need it. A rail begins left of all
rails that are in use at its first row, so that its name has free room on its left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from buildflow.diagrams.model import FlowModel, Node, NodeType
from buildflow.diagrams.svg.scene import SIZE, SMALL, text_width
from buildflow.diagrams.theme import PATTERN_WORDS

INDENT: Final = 18.0
INSET: Final = 10.0
RETRY_INSET: Final = 24.0
RAIL: Final = 12.0
LABEL_LINE: Final = 14.0
_HEIGHT, _GAP, _HEADER, _FOOT = 26.0, 14.0, 26.0, 10.0


@dataclass(eq=False)
class Row:
    """One node's box; `y` its top. For a flow, `header` is what is used by its name."""

    node: Node
    words: str  # how it went, when a run is laid over
    depth: int
    x: float
    y: float = 0.0
    height: float = _HEIGHT
    right: float = 0.0

    @property
    def middle(self) -> float:
        """Where its name stands, and where its undo hangs."""
        return self.y + self.height / 2

    @property
    def inlet(self) -> float:
        """Where what it needs comes in: above where what it gives goes out."""
        return self.y + 9


@dataclass(eq=False)
class Rail:
    """One or more results that go the same way."""

    source: str
    names: tuple[str, ...]
    targets: tuple[str, ...]
    slot: int = 0
    start: float = 0.0  # y at which it leaves its source
    words: str = ""


@dataclass
class Rows:
    """The whole layout; x is 0 at the root's left edge."""

    rows: dict[str, Row]
    rails: list[Rail] = field(default_factory=list)
    right: float = 0.0

    @property
    def bottom(self) -> float:
        """The lower edge of the root."""
        return max(row.y + row.height for row in self.rows.values())


def lay_out(flow: FlowModel, words: Mapping[str, str]) -> Rows:
    """Give everything its place; `words` say how each node went."""
    rails = _rails(flow)
    leaving: dict[str, int] = {}
    for rail in rails:
        leaving[rail.source] = leaving.get(rail.source, 0) + 1
    rows = {
        n.key: Row(n, words.get(n.key, ""), flow.depth(n.key), flow.depth(n.key) * INDENT)
        for n in flow.walk()
    }
    _stack(flow, rows, leaving)
    layout = Rows(rows, rails)
    _widths(flow, layout)
    _slots(layout)
    return layout


def _rails(flow: FlowModel) -> list[Rail]:
    """Results grouped by who gives them and who needs them, in the order of running."""
    needed: dict[tuple[str, str], list[str]] = {}
    for link in flow.data_links():
        for name in link.names:
            needed.setdefault((link.source, name), []).append(link.target)
    together: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (source, name), targets in needed.items():
        together.setdefault((source, tuple(targets)), []).append(name)
    rails = [Rail(s, tuple(names), targets) for (s, targets), names in together.items()]
    # a graph's order that no data explains is a rail without a name
    explained = {(link.source, link.target) for link in flow.data_links()}
    place = {node.key: i for i, node in enumerate(flow.nodes)}
    rails += [
        Rail(link.source, (), (link.target,))
        for link in flow.order_links()
        if (link.source, link.target) not in explained
        and not beside(flow, link.source, link.target)
    ]
    rails.sort(key=lambda rail: (place[rail.source], -max(place[t] for t in rail.targets)))
    for rail in rails:
        rail.words = ", ".join(rail.names)
    return rails


def beside(flow: FlowModel, first: str, second: str) -> bool:
    """Whether `second` stands directly below `first` in the flow that both are in."""
    siblings = [n.key for n in flow.children(flow.by_key[first].parent or "")]
    at = siblings.index(first)
    return siblings[at + 1 : at + 2] == [second]


def _stack(flow: FlowModel, rows: Mapping[str, Row], leaving: Mapping[str, int]) -> None:
    """Rows from the top down; a flow ends below the last of what is in it."""
    y = 0.0
    open_flows: list[Row] = []
    for node in flow.walk():
        row = rows[node.key]
        while open_flows and open_flows[-1].node.key != node.parent:
            y = _close(open_flows, y)
        row.y = y
        if node.type is NodeType.FLOW:
            open_flows.append(row)
            y += _HEADER + (0 if flow.children(node.key) else 4)
        else:
            row.height = max(_HEIGHT, 18 + leaving.get(node.key, 0) * LABEL_LINE)
            y += row.height + _GAP
    while open_flows:
        y = _close(open_flows, y)


def _close(open_flows: list[Row], y: float) -> float:
    row = open_flows.pop()
    row.height = y - _GAP + _FOOT - row.y if y > row.y + _HEADER + 5 else _HEADER
    return row.y + row.height + _GAP


def _widths(flow: FlowModel, layout: Rows) -> None:
    """Every box as wide as the widest text needs, less what its flows keep on the right."""
    inset: dict[str, float] = {}
    widest = 0.0
    for node in flow.walk():
        row = layout.rows[node.key]
        if node.parent is None:
            inset[node.key] = 0.0
        else:
            retried = any(c.type is NodeType.RETRY for c in flow.children(node.parent))
            inset[node.key] = inset[node.parent] + (RETRY_INSET if retried else INSET)
        mark = "! " if row.words else ""
        needed = text_width(mark + box_words(node), SIZE) + 36 + text_width(row.words, SMALL)
        if node.type is NodeType.FLOW:
            needed += text_width(PATTERN_WORDS[node.pattern], SMALL) + 26
        widest = max(widest, row.x + needed + inset[node.key])
    for key, row in layout.rows.items():
        row.right = widest - inset[key]
    layout.right = widest


def box_words(node: Node) -> str:
    """What a node's box says."""
    return f"retry: {node.text}" if node.type is NodeType.RETRY else node.text


def _slots(layout: Rows) -> None:
    """Where each rail runs, and the height at which it begins."""
    begun: dict[str, int] = {}
    active: list[tuple[float, int]] = []  # (last y, slot)
    for rail in layout.rails:
        row = layout.rows[rail.source]
        rail.start = row.inlet + (begun.get(rail.source, 0) + 1) * LABEL_LINE
        begun[rail.source] = begun.get(rail.source, 0) + 1
        if row.node.type is NodeType.FLOW:
            rail.start = row.y + row.height - 4
        last = max(layout.rows[t].inlet for t in rail.targets)
        active = [(end, slot) for end, slot in active if end + 8 > rail.start]
        rail.slot = max((slot for _, slot in active), default=-1) + 1
        active.append((last, rail.slot))
