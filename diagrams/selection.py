"""Which nodes of a flow a call diagram shows, and under which box each of them hangs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from buildflow.diagrams.model import FlowModel, Node, NodeType


class Style(StrEnum):
    """`documented` shows the boxes of the documented picture, `tree` all there is, one a line."""

    DOCUMENTED = "documented"
    TREE = "tree"


@dataclass(frozen=True, slots=True)
class Call:
    """One box, and the boxes that hang below it in the order in which they run."""

    node: Node
    calls: tuple[Call, ...]

    def count(self) -> int:
        """How many boxes there are from here down."""
        return 1 + sum(call.count() for call in self.calls)


def select(flow: FlowModel, style: Style, depth: int | None) -> Call:
    """The boxes to draw.

    In the documented style `depth` opens that many levels below the documented boxes, none unless
    given; a flow of which nothing is documented is shown whole. In the tree style at most `depth`
    levels of nesting are shown, all unless given.
    """
    opened: dict[str, int] = {}  # how many levels below the nearest documented box
    known = any(node.documented for node in flow.nodes)
    for node in flow.nodes:
        above = opened.get(node.parent, -1) if node.parent is not None else -1
        opened[node.key] = 0 if node.documented or node is flow.root else above + 1
    if style is Style.TREE or not known:
        limit = depth if depth is not None else len(flow.nodes)
        shown = {node.key for node in flow.nodes if flow.depth(node.key) <= limit}
    else:
        shown = {node.key for node in flow.nodes if opened[node.key] <= (depth or 0)}
    return _collect(flow, flow.root, shown)


def _collect(flow: FlowModel, top: Node, shown: set[str]) -> Call:
    """Hang each shown node below the nearest shown one that holds it."""
    below: dict[str, list[Node]] = {}
    holder: dict[str, str] = {}
    for node in flow.walk(top.key):
        if node is not top:
            parent = node.parent or top.key
            holder[node.key] = parent if parent in shown or parent == top.key else holder[parent]
            if node.key in shown:
                below.setdefault(holder[node.key], []).append(node)
    built: dict[str, Call] = {}
    for node in reversed(list(flow.walk(top.key))):
        if node.key in shown or node is top:
            inner = below.get(node.key, ())
            built[node.key] = Call(node, tuple(built[n.key] for n in inner))
    return built[top.key]


def box_text(node: Node) -> str:
    """What the box of `node` says."""
    return f"retry: {node.text}" if node.type is NodeType.RETRY else node.text
