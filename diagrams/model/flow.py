"""A flow as a picture needs it: what is nested in what, what comes before what, what undoes it.

Rules: nodes stand in the order in which they run, a parent before what is nested in it; a node is
known by its `key`, which is its name unless two flows share one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property


class NodeType(StrEnum):
    """What a node is to TaskFlow."""

    FLOW = "flow"
    TASK = "task"
    RETRY = "retry"


class Pattern(StrEnum):
    """How what is nested in a flow is ordered; NONE for a task or a retry."""

    NONE = ""
    LINEAR = "linear"
    UNORDERED = "unordered"
    GRAPH = "graph"


class LinkKind(StrEnum):
    """Why one node comes after another."""

    ORDER = "order"  # the pattern says so; both ends have the same parent
    DATA = "data"  # the target needs what the source provides


@dataclass(frozen=True, slots=True)
class Node:
    """One flow, task or retry, with all that its pictures say of it.

    `effect` is the kind of thing that it makes outside; `undo` says shortly how that is taken back,
    or `no_undo` says why nothing is. `undo_after` names the effect kinds that must be gone first.
    `definition` is the class it comes from, which is part of what a build in flight is held to.
    """

    key: str
    name: str
    type: NodeType
    parent: str | None = None
    label: str = ""
    pattern: Pattern = Pattern.NONE
    documented: bool = False
    definition: str = ""
    requires: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    effect: str = ""
    undo: str = ""
    no_undo: str = ""
    undo_after: tuple[str, ...] = ()
    on_start: tuple[str, ...] = ()
    on_done: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What a box shows: the label, or the name when there is none."""
        return self.label or self.name


@dataclass(frozen=True, slots=True)
class Link:
    """`target` comes after `source`; `names` are the results handed over, for a data link."""

    source: str
    target: str
    kind: LinkKind
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class FlowModel:
    """A whole flow. The first node is its root."""

    nodes: tuple[Node, ...]
    links: tuple[Link, ...] = ()

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for node in self.nodes:
            if node.key in seen:
                raise ValueError(f"two nodes have the key {node.key!r}")
            if (node.parent is None) != (not seen):
                raise ValueError(f"{node.key!r}: the first node, and no other, is the root")
            if node.parent is not None and node.parent not in seen:
                raise ValueError(f"{node.key!r} comes before its parent {node.parent!r}")
            seen.add(node.key)
        if not seen:
            raise ValueError("a flow has at least its root")
        for link in self.links:
            for end in (link.source, link.target):
                if end not in seen:
                    raise ValueError(f"a link names {end!r}, which is no node")

    @property
    def root(self) -> Node:
        """The outermost flow."""
        return self.nodes[0]

    @property
    def name(self) -> str:
        """The outermost flow's name."""
        return self.root.name

    @cached_property
    def by_key(self) -> dict[str, Node]:
        """Each node by its key."""
        return {node.key: node for node in self.nodes}

    @cached_property
    def _children(self) -> dict[str, tuple[Node, ...]]:
        found: dict[str, list[Node]] = {node.key: [] for node in self.nodes}
        for node in self.nodes:
            if node.parent is not None:
                found[node.parent].append(node)
        return {key: tuple(nodes) for key, nodes in found.items()}

    def children(self, key: str) -> tuple[Node, ...]:
        """What is nested directly in `key`, in the order in which it runs."""
        return self._children[key]

    @cached_property
    def _depths(self) -> dict[str, int]:
        depths: dict[str, int] = {}
        for node in self.nodes:
            depths[node.key] = 0 if node.parent is None else depths[node.parent] + 1
        return depths

    def depth(self, key: str) -> int:
        """How deep `key` is nested; 0 for the root."""
        return self._depths[key]

    def walk(self, key: str | None = None) -> Iterator[Node]:
        """`key` (the root) and all that is nested in it, depth first, in the order of running."""
        waiting = [self.by_key[key] if key is not None else self.root]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(self._children[node.key]))

    def tasks(self) -> tuple[Node, ...]:
        """The tasks alone, in the order in which they run."""
        return tuple(node for node in self.walk() if node.type is NodeType.TASK)

    def data_links(self) -> tuple[Link, ...]:
        """The links that hand something over."""
        return tuple(link for link in self.links if link.kind is LinkKind.DATA)

    def order_links(self) -> tuple[Link, ...]:
        """The links that a flow's pattern makes."""
        return tuple(link for link in self.links if link.kind is LinkKind.ORDER)

    def way_back(self) -> tuple[tuple[int, Node], ...]:
        """The undos in the order in which a rollback runs them, each with its place.

        Two undos have the same place when neither waits for the other.
        """
        return _way_back(self)


def _way_back(flow: FlowModel) -> tuple[tuple[int, Node], ...]:
    """Ranks the tasks that have an undo by the longest chain of undos that comes before each.

    Walks the tree backwards: in a flow whose children are in order, a child waits for the undos of
    all that comes after it.
    """
    rank: dict[str, int] = {}
    after: dict[str, set[str]] = {}
    for link in flow.order_links():
        after.setdefault(link.source, set()).add(link.target)

    def unwind(node: Node, base: int) -> int:
        """The highest place used once everything in `node` is undone, starting above `base`."""
        if node.type is NodeType.TASK:
            if node.undo:
                rank[node.key] = base + 1
                return base + 1
            return base
        tops: dict[str, int] = {}
        top = base
        for child in reversed(flow.children(node.key)):
            start = max(
                (tops[key] for key in after.get(child.key, ()) if key in tops), default=base
            )
            tops[child.key] = unwind(child, start)
            top = max(top, tops[child.key])
        return top

    unwind(flow.root, 0)
    backwards = [node for node in reversed(flow.tasks()) if node.key in rank]
    return tuple(sorted(((rank[n.key], n) for n in backwards), key=lambda pair: pair[0]))
