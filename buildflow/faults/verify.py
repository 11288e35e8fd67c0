"""Proof over the tables: what they say is walked, without anything being run.

Each machine is a graph: every state can be reached, every state that does not last leads to one
that does, no trigger is ambiguous. Each flow is walked forward, and backward from each of its
points, with each thing that may happen there; the product of place, states and what has happened is
enumerated, and nothing in it may be illegal in the joint table. A flaw comes with the shortest way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import networkx as nx

from buildflow.engine.complete import Complete
from buildflow.engine.fingerprint import atoms_of
from buildflow.engine.removal import Remove
from buildflow.engine.step import Step
from buildflow.errors import InvalidTransition
from buildflow.states import TABLES, InstanceStates, Stability, Table, apply, joint, power, task, vm
from buildflow.states.machine import label

# what the hypervisor may say of a guest that is being waited for
_DEATHS = (power.PAUSED, power.SHUTDOWN, power.CRASHED, power.SUSPENDED, power.NOSTATE)


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something that contradicts itself, and the shortest way to it."""

    where: str
    text: str
    path: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"{self.where}: {self.text}"
        for number, step in enumerate(self.path, start=1):
            yield f"  {number}. {step}"


@dataclass(frozen=True, slots=True)
class Place:
    """One point of the product: a place in the flow, the three states, and what has happened.

    `at` counts moments forward; `back` is set once the run goes back; `fault` says why; `held` that
    an undo has failed, so that something stays.
    """

    at: int
    states: InstanceStates
    back: bool = False
    fault: str = ""
    held: bool = False
    ended: bool = False

    def __str__(self) -> str:
        vm_state, task_state, power_state = self.states.triple
        way = "back" if self.back else "forward"
        why = f" after {self.fault}" if self.fault else ""
        held = ", with residue" if self.held else ""
        words = f"{vm_state}/{label(task_state)}/{power.NAMES[power_state]}"
        return f"{words} {'ended' if self.ended else way}{why}{held}"


@dataclass(slots=True)
class Proof:
    """What was looked at, and what is wrong with it. `product` counts places by flow."""

    flaws: list[Flaw] = field(default_factory=list)
    states: dict[str, int] = field(default_factory=dict)
    transitions: dict[str, int] = field(default_factory=dict)
    triples: int = 0
    product: dict[str, int] = field(default_factory=dict)
    edges: dict[str, int] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)


def verify(
    flows: Mapping[str, Any],
    *,
    tables: Mapping[str, Table[Any]] | None = None,
    check_joint: bool = True,
) -> Proof:
    """Check the tables, and each of `flows` against them."""
    proof = Proof()
    chosen = TABLES if tables is None else tables
    for name, table in chosen.items():
        proof.states[name], proof.transitions[name] = len(table.states), len(table.all_rows())
        proof.flaws += machine_flaws(name, table)
    proof.flaws += _shared_triggers(chosen)
    if check_joint:
        proof.triples = sum(1 for _ in joint.triples())
        proof.flaws += joint_flaws(chosen)
    for name, flow in flows.items():
        steps = [atom for atom in atoms_of(flow) if isinstance(atom, Step)]
        proof.steps[name] = len(steps)
        found = step_flaws(name, steps, chosen)
        proof.flaws += found
        if not found:
            graph, flaws = product_of(name, steps)
            proof.flaws += flaws
            proof.product[name], proof.edges[name] = len(graph), graph.number_of_edges()
    return proof


# --- the machines --------------------------------------------------------------------------------


def graph_of(table: Table[Any]) -> nx.MultiDiGraph:
    """A machine as a graph of its states."""
    graph = nx.MultiDiGraph()
    graph.add_nodes_from(label(state.value) for state in table.states)
    for row in table.all_rows():
        graph.add_edge(label(row.source), label(row.dest), trigger=row.trigger)
    return graph


def machine_flaws(name: str, table: Table[Any]) -> list[Flaw]:
    """States that can't be reached, states that lead nowhere, triggers that mean two things."""
    graph = graph_of(table)
    first = label(table.initial)
    flaws = [
        Flaw(name, f"no transition leads to {value}")
        for value in graph
        if not nx.has_path(graph, first, value)
    ]
    lasting = [s.value for s in table.states if s.stability is Stability.TERMINAL] or [
        s.value for s in table.states if s.stability in (Stability.STABLE, Stability.STUCK)
    ]
    leads = {label(value) for value in lasting}
    for value in lasting:
        leads |= nx.ancestors(graph, label(value))
    flaws += [
        Flaw(name, f"{value} leads to no state that lasts", _way(graph, first, value))
        for value in graph
        if value not in leads
    ]
    flaws += [
        Flaw(name, f"{label(s.value)} is terminal, and {row.trigger} leads out of it")
        for s in table.states
        if s.stability is Stability.TERMINAL
        for row in table.all_rows()
        if row.source == s.value
    ]
    seen: dict[tuple[str, Any], Any] = {}
    for row in table.all_rows():
        if seen.setdefault((row.trigger, row.source), row.dest) != row.dest:
            flaws.append(Flaw(name, f"{row.trigger} from {label(row.source)} is ambiguous"))
    return flaws


def _way(graph: nx.MultiDiGraph, first: str, value: str) -> tuple[str, ...]:
    if not nx.has_path(graph, first, value):
        return ()
    return tuple(nx.shortest_path(graph, first, value))


def _shared_triggers(tables: Mapping[str, Table[Any]]) -> list[Flaw]:
    owner: dict[str, str] = {}
    return [
        Flaw(name, f"its trigger {trigger} belongs to {owner[trigger]} as well")
        for name, table in tables.items()
        for trigger in sorted(table.triggers())
        if owner.setdefault(trigger, name) != name
    ]


def joint_flaws(tables: Mapping[str, Table[Any]]) -> list[Flaw]:
    """Rows of the joint table that name no state, and the start that it does not allow."""
    flaws = []
    values = {name: {s.value for s in table.states} for name, table in tables.items()}
    for row in joint.TABLE:
        named: dict[str, set[Any]] = {
            "vm": {row.vm_state},
            "task": {row.task_state},
            "power": set(row.power_states),
        }
        flaws += [
            Flaw("joint", f"{label(value)} is no state of {name}")
            for name, wanted in named.items()
            if name in values
            for value in wanted - values[name]
        ]
    if joint.find(*InstanceStates().triple) is None:
        flaws.append(Flaw("joint", f"the start {InstanceStates().triple} is not legal"))
    return flaws


# --- the steps -----------------------------------------------------------------------------------


def step_flaws(flow: str, steps: list[Step], tables: Mapping[str, Table[Any]]) -> list[Flaw]:
    """Steps without an undo, triggers that no table knows, undos that wait for each other."""
    flaws = []
    known = {trigger for table in tables.values() for trigger in table.triggers()}
    for step in steps:
        triggers = [*step.on_start, *step.on_done, *getattr(step, "triggers", ())]
        flaws += [
            Flaw(flow, f"step {step.name}: no machine has the trigger {trigger}")
            for trigger in triggers
            if trigger not in known
        ]
        if step.kind is None and not step.no_undo and not isinstance(step, Remove):
            flaws.append(Flaw(flow, f"step {step.name}: declares no undo and no reason for none"))
    order = nx.DiGraph()
    for step in steps:
        for other in step.undo_after:
            order.add_edge(other, step.kind)
    cycle = next(iter(nx.simple_cycles(order)), None)
    if cycle:
        flaws.append(Flaw(flow, f"undos wait for each other: {', '.join(cycle)}", tuple(cycle)))
    made = {step.kind for step in steps if step.kind}
    places = {kind: i for i, step in enumerate(steps) if (kind := step.kind)}
    for step in steps:
        flaws += [
            Flaw(flow, f"step {step.name}: its undo waits for a {kind}, which is made before it")
            for kind in step.undo_after
            if kind in made and places[kind] < places[step.kind or ""]
        ]
    return flaws


# --- the product ---------------------------------------------------------------------------------


def product_of(name: str, steps: list[Step]) -> tuple[nx.DiGraph, list[Flaw]]:
    """Every place that can be reached, as a graph, and what is illegal in it.

    Moments of a step: before it, begun, done. At each of them the run may go on, fail, be asked to
    stop, be deleted, crash and be resumed, or be rolled back with an undo that fails.
    """
    start = Place(0, InstanceStates())
    graph = nx.DiGraph()
    graph.add_node(start)
    flaws: list[Flaw] = []
    moves = _Moves(steps)
    todo = [start]
    while todo:
        place = todo.pop()
        try:
            following = list(moves.of(place))
        except InvalidTransition as error:
            flaws.append(Flaw(name, str(error), _story(graph, start, place, moves)))
            continue
        if not following and not place.ended:
            flaws.append(Flaw(name, "a run stays here", _story(graph, start, place, moves)))
        for told, target in following:
            if joint.find(*target.states.triple) is None:
                flaws.append(
                    Flaw(name, f"{target.states.triple} is not legal",
                         (*_story(graph, start, place, moves), told))
                )  # fmt: skip
                continue
            if target not in graph:
                todo.append(target)
            graph.add_edge(place, target, told=told)
    return graph, flaws


def _story(graph: nx.DiGraph, start: Place, end: Place, moves: _Moves) -> tuple[str, ...]:
    way = nx.shortest_path(graph, start, end)
    told = [graph.edges[a, b]["told"] for a, b in pairwise(way)]
    return (*(f"{text} -> {place}" for text, place in zip(told, way[1:], strict=True)),)


class _Moves:
    """What may come next, by the engine's own rules (engine/undo.py)."""

    def __init__(self, steps: list[Step]) -> None:
        self.steps = steps

    def of(self, place: Place) -> Iterator[tuple[str, Place]]:
        """Each thing that may happen at `place`, in words, and where it leads."""
        if place.ended:
            yield from self._after_the_end(place)
        elif place.back:
            yield from self._back(place)
        else:
            yield from self._forward(place)

    def _forward(self, place: Place) -> Iterator[tuple[str, Place]]:
        index, moment = divmod(place.at, 3)
        step = self.steps[index]
        for fault in ("an error", "a stop request"):
            yield f"{fault} at {step.name}", self._turned(place, fault)
        yield f"a delete at {step.name}", self._turned(place, "a delete")
        if place.states.power_state == power.RUNNING:
            for value in _DEATHS:
                dead = apply(place.states, (power.report_trigger(value),))
                words = f"the guest is reported {power.NAMES[value]}"
                yield words, self._turned(replace(place, states=dead), "a dead guest")
        if isinstance(step, Complete):
            if moment == 0:
                states = apply(place.states, step.triggers)
                yield "complete", replace(place, states=states, at=place.at, ended=True)
            return
        triggers = (step.on_start, step.on_done, ())[moment]
        states = apply(place.states, triggers)
        if moment == 1 and step.kind == "guest":
            states = apply(states, (power.report_trigger(power.RUNNING),))
        told = f"{step.name}: {('begun', 'done', 'over')[moment]}"
        yield told, replace(place, states=states, at=place.at + 1)

    def _turned(self, place: Place, fault: str) -> Place:
        states = place.states
        if fault == "a delete":
            states = apply(states, ("start_deleting",))
        return replace(place, states=states, back=True, fault=fault)

    def _back(self, place: Place) -> Iterator[tuple[str, Place]]:
        states = place.states
        if states.task_state != task.DELETING and place.fault != "a delete":
            deleting = apply(states, ("start_deleting",))
            yield "a delete comes in", replace(place, states=deleting, fault="a delete")
        if place.at < 0:
            yield "the rollback ends", self._ended(place)
            return
        index, moment = divmod(place.at, 3)
        step = self.steps[index]
        under = replace(place, at=index * 3 - 1 if index else -1)
        if step.kind is not None and moment:
            gone = states
            if step.kind == "guest" and states.power_state != power.NOSTATE:
                gone = apply(states, (power.report_trigger(power.NOSTATE),))
            yield f"{step.name} is undone", replace(under, states=self._walked(gone, step, place))
            held = replace(under, held=True, states=self._walked(states, step, place))
            yield f"{step.name} can't be undone", held
        else:
            walked = self._walked(states, step, place)
            yield f"{step.name} is walked back over", replace(under, states=walked)

    def _walked(self, states: InstanceStates, step: Step, place: Place) -> InstanceStates:
        """As far as the tables let it: a guest that stays holds the machine where it is."""
        if states.task_state == task.DELETING:
            return states
        for triggers in (step.on_done, step.on_start):
            undo = _undo_of(states, triggers)
            if undo:
                try:
                    states = apply(states, undo)
                except InvalidTransition:
                    if not place.held and states.power_state == power.NOSTATE:
                        raise
                    return states
        return states

    def _ended(self, place: Place) -> Place:
        states = place.states
        if states.task_state == task.DELETING:
            if not place.held:
                if states.power_state != power.NOSTATE:
                    states = apply(states, (power.report_trigger(power.NOSTATE),))
                states = apply(states, (f"delete_{states.vm_state}", "finish_deleting"))
        elif states.vm_state == vm.BUILDING:
            idle = states.task_state is None
            states = apply(states, ("fail",) if idle else ("fail", "give_up"))
        return replace(place, states=states, ended=True)

    def _after_the_end(self, place: Place) -> Iterator[tuple[str, Place]]:
        states = place.states
        if states.vm_state == vm.DELETED:
            return
        if states.task_state == task.DELETING:
            yield "cleanup", self._ended(replace(place, held=False))
            return
        if states.vm_state == vm.ACTIVE:
            for value in power.NAMES:
                if value != states.power_state:
                    reported = apply(states, (power.report_trigger(value),))
                    yield f"reported {power.NAMES[value]}", replace(place, states=reported)
        deleting = apply(states, ("start_deleting",))
        yield "a delete", replace(place, states=deleting, held=True, fault="a delete")


def _undo_of(states: InstanceStates, triggers: Any) -> list[str]:
    """Compensating triggers of a move, last first; none when it was not made."""
    undo: list[str] = []
    for trigger in reversed(tuple(triggers)):
        for table in TABLES.values():
            value = getattr(states, table.attribute)
            row = next((r for r in table.rows if r.trigger == trigger and r.dest == value), None)
            if row is not None and row.undo is not None:
                undo.append(row.undo)
    return undo if len(undo) == len(tuple(triggers)) else []
