"""The graph of positions that an exploration has found: what leads where, and what is left to try.

A node is a position of the run (Scene.position); two runs at equal positions go on alike. From each
node one clean edge leads on, and one edge for each kind of fault that can strike there. `least` is
the smallest number of faults that leads to it; a node with less than the depth has all of its edges
tried. So every plan of up to that many faults is a path of this graph whose every edge was really
run, though rarely all of them in one and the same run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from buildflow.faults.injector import Struck
from buildflow.faults.scene import Checkpoint, Outcome

Edge = tuple[int, str]
"""A position and the code of the kind that strikes there."""


CLEAN = ""
"""Stands for no fault where an edge is named by its fault: a way on that no run has taken yet."""


# a walk from its start may be shorter than one that goes on from a checkpoint farther away
_NEAR = 60

DEAD = "dead"
"""Name of a position between processes. What a kill leaves is what is stored and what is outside,
so that two kills which leave the same are one position, whatever the processes had in mind.
"""


@dataclass(slots=True)
class Node:
    """One position. `via` is the last strike on the way with the fewest faults, if any; `struck`
    are the faults on that way, and `hits` those that strike here.
    """

    word: int
    name: str
    step: str
    options: tuple[str, ...]
    least: int
    via: Edge | None = None
    struck: tuple[Struck, ...] = ()
    next: int | None = None
    after: dict[str, int] = field(default_factory=dict)
    hits: dict[str, Struck] = field(default_factory=dict)
    outcome: Outcome | None = None  # of an end


def word_of(position: object) -> int:
    """A position as a number."""
    return hash(position)


class Graph:
    """See the module."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.nodes: dict[int, Node] = {}
        self.start: int | None = None
        self.changed: set[int] = set()
        # what processes have left where they could be killed: this process's own, not merged
        self.checkpoints: dict[int, Checkpoint] = {}
        self._near: dict[int, tuple[int, int]] = {}

    def touch(self, node: Node) -> None:
        """Note that a node is new or has changed."""
        self.changed.add(node.word)

    def lower(self, node: Node, least: int, via: Edge | None, struck: tuple[Struck, ...]) -> None:
        """A way with fewer faults leads here, and so to all that follows."""
        todo = [(node, least, via, struck)]
        while todo:
            current, least, via, struck = todo.pop()
            if current.least <= least:
                continue
            current.least, current.via, current.struck = least, via, struck
            self.touch(current)
            following = self.nodes.get(current.next) if current.next is not None else None
            if following is not None:
                todo.append((following, least, via, struck))
            for code, word in current.after.items():
                struck_next = self.nodes.get(word)
                if struck_next is not None and struck_next.least > least + 1:
                    hit = current.hits.get(code)
                    more = (*struck, hit) if hit is not None else struck_next.struck
                    todo.append((struck_next, least + 1, (current.word, code), more))

    def plan(self, word: int) -> list[Edge]:
        """The strikes that lead to a node, with the fewest faults."""
        edges: list[Edge] = []
        node = self.nodes[word]
        while node.via is not None:
            edges.append(node.via)
            node = self.nodes[node.via[0]]
        return edges[::-1]

    def chain(self, word: int | None) -> Iterator[Node]:
        """A node and all that follow without a further fault, as far as is known."""
        seen = set()
        while word is not None and word not in seen:
            seen.add(word)
            node = self.nodes.get(word)
            if node is None:
                return
            yield node
            word = node.next

    def survey(self) -> None:
        """Find out for each node the nearest checkpoint from which a run comes to it by itself."""
        near: dict[int, tuple[int, int]] = {}
        for word in self.checkpoints:
            for distance, node in enumerate(self.chain(word)):
                if distance > _NEAR:
                    break
                if node.word not in near or distance < near[node.word][0]:
                    near[node.word] = distance, word
        self._near = near

    def nearest(self, word: int) -> Node | None:
        """The position between processes from which a run comes soonest to `word`, if any does."""
        found = self._near.get(word)
        return None if found is None else self.nodes[found[1]]

    def outcome(self, word: int | None) -> Outcome | None:
        """How a run ends from here without a further fault; None when that is not known."""
        last = None
        for last in self.chain(word):  # noqa: B007 - the last one counts
            pass
        return last.outcome if last is not None else None

    def untried(self, mine: Callable[[int, str], bool]) -> list[Edge]:
        """Edges that are still to be tried. Ways on come first: they lead from checkpoints to where
        the others strike.
        """
        found: list[Edge] = [
            (node.word, CLEAN)
            for node in self.nodes.values()
            if self._leads_on(node) and mine(node.word, CLEAN)
        ]
        for node in self.nodes.values():
            if node.least < self.depth:
                found += [
                    (node.word, code)
                    for code in node.options
                    if code not in node.after and mine(node.word, code)
                ]
        return found

    def is_untried(self, edge: Edge) -> bool:
        """Whether an edge is still to be tried."""
        node = self.nodes[edge[0]]
        if edge[1] == CLEAN:
            return self._leads_on(node)
        return edge[1] not in node.after and node.least < self.depth

    def _leads_on(self, node: Node) -> bool:
        """Whether a way goes on from here that nobody has gone, with few enough faults."""
        return node.next is None and node.outcome is None and node.least <= self.depth

    def give_up(self, edge: Edge) -> None:
        """No run comes to this edge again: take it for one that leads nowhere."""
        node = self.nodes[edge[0]]
        if edge[1] == CLEAN:
            node.next = edge[0]
        else:
            node.after[edge[1]] = edge[0]
        self.touch(node)

    def counts(self) -> tuple[int, int]:
        """How many plans of one fault there are, and how many of two."""
        ahead: dict[int, int] = {}

        def options_from(word: int) -> int:
            nodes = list(self.chain(word))
            total = 0
            for node in reversed(nodes):
                if node.word in ahead:
                    total = ahead[node.word]
                    continue
                total += len(node.options)
                ahead[node.word] = total
            return ahead.get(word, 0)

        if self.start is None or self.depth < 1:
            return 0, 0
        singles = options_from(self.start)
        if self.depth < 2:
            return singles, 0
        pairs = sum(
            options_from(word) for node in self.chain(self.start) for word in node.after.values()
        )
        return singles, pairs

    def news(self) -> list[Any]:
        """The nodes that have changed since it was asked last."""
        found = [self.nodes[word] for word in self.changed]
        self.changed = set()
        return found

    def merge(self, news: list[Node]) -> None:
        """Take in what another process has found."""
        for theirs in news:
            mine = self.nodes.get(theirs.word)
            if mine is None:
                self.nodes[theirs.word] = theirs
                continue
            mine.after.update(theirs.after)
            mine.hits.update(theirs.hits)
            if mine.next is None:
                mine.next = theirs.next
            if mine.outcome is None:
                mine.outcome = theirs.outcome
            if theirs.least < mine.least:
                self.lower(mine, theirs.least, theirs.via, theirs.struck)
        self.changed = set()
