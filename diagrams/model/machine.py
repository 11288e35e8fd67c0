"""A state machine as a picture needs it.

The joint chart is one too: its states are pairs `vm / task`, and `values` are the power states that
may go with a pair, so that one box stands for all triples which differ in power alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from buildflow.states import Kind, Stability


@dataclass(frozen=True, slots=True)
class StateNode:
    """One state. `key` is its value as text.

    For the joint chart, `values` are the power states reachable with it, and `unreached` those that
    are legal but that the flow never comes to.
    """

    key: str
    stability: Stability
    why: str = ""
    values: tuple[str, ...] = ()
    unreached: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Edge:
    """One transition, and the steps of the flow that fire it (`undo of ...` for a rollback's)."""

    trigger: str
    source: str
    dest: str
    kind: Kind
    why: str = ""
    undo: str = ""
    undo_why: str = ""
    steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Moment:
    """One move of a successful build: what fired it, and the state in which it leaves things.

    `box` is the documented box that the step stands in, when it is not one itself; `value` is the
    power state after it, in the joint chart.
    """

    step: str
    triggers: tuple[str, ...]
    state: str
    box: str = ""
    value: str = ""


@dataclass(frozen=True)
class MachineModel:
    """A whole machine; `path` is the way that a successful build takes through it."""

    name: str
    initial: str
    states: tuple[StateNode, ...]
    edges: tuple[Edge, ...]
    attribute: str = ""
    why: str = ""
    path: tuple[Moment, ...] = ()

    def __post_init__(self) -> None:
        known = {state.key for state in self.states}
        if len(known) != len(self.states):
            raise ValueError(f"{self.name}: a state is given twice")
        if self.initial not in known:
            raise ValueError(
                f"{self.name}: its initial state {self.initial!r} is not one of its own"
            )
        for edge in self.edges:
            for end in (edge.source, edge.dest):
                if end not in known:
                    raise ValueError(
                        f"{self.name}: {edge.trigger} names {end!r}, which is no state"
                    )
        for moment in self.path:
            if moment.state not in known:
                raise ValueError(f"{self.name}: the path names {moment.state!r}, which is no state")

    @cached_property
    def by_key(self) -> dict[str, StateNode]:
        """Each state by its key."""
        return {state.key: state for state in self.states}

    @cached_property
    def leaving(self) -> dict[str, tuple[Edge, ...]]:
        """The edges that lead out of each state, in the order of the table."""
        found: dict[str, list[Edge]] = {state.key: [] for state in self.states}
        for edge in self.edges:
            found[edge.source].append(edge)
        return {key: tuple(edges) for key, edges in found.items()}

    @cached_property
    def from_anywhere(self) -> dict[str, tuple[Edge, ...]]:
        """Triggers that lead to one state from *every* other in the same way, with their edges.

        A picture draws such a trigger once: thirty arrows between six states say no more.
        """
        by_trigger: dict[str, list[Edge]] = {}
        for edge in self.edges:
            by_trigger.setdefault(edge.trigger, []).append(edge)
        others = len(self.states) - 1
        found: dict[str, tuple[Edge, ...]] = {}
        for trigger, edges in by_trigger.items():
            same = {(e.dest, e.kind, e.why, e.undo, e.undo_why, e.steps) for e in edges}
            sources = {e.source for e in edges} - {edges[0].dest}
            if len(same) == 1 and others >= 2 and len(edges) == len(sources) == others:
                found[trigger] = tuple(edges)
        return found
