"""The product of position in a flow, states and fault: every place of it that can be reached.

Moments of a step: before it, begun, done. At each of them the run may go on, fail, be asked to
stop, be deleted, find its guest dead, or be killed and resumed; going back, each undo may succeed
or fail. The rules are the engine's own (engine/undo.py), the laws are the tables.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Protocol

import networkx as nx

from buildflow.engine.complete import Complete
from buildflow.engine.removal import Remove
from buildflow.engine.step import Step
from buildflow.errors import InvalidTransition
from buildflow.states import TABLES, InstanceStates, Table, joint, power, task, vm
from buildflow.states.machine import label

# what the hypervisor may say of a guest that is being waited for
_DEATHS = (power.PAUSED, power.SHUTDOWN, power.CRASHED, power.SUSPENDED, power.NOSTATE)
# after these another host may be tried
_HOPEFUL = ("an error", "a dead guest")


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


class Laws:
    """The tables: what a trigger does, and which triples may stand together."""

    def __init__(
        self,
        tables: Mapping[str, Table[Any]] = TABLES,
        rows: Sequence[joint.JointRow] = joint.TABLE,
    ) -> None:
        self.tables = tables
        self.rows = tuple(rows)
        self.legal = frozenset(
            (row.vm_state, row.task_state, value) for row in rows for value in row.power_states
        )

    def apply(self, states: InstanceStates, triggers: Any) -> InstanceStates:
        """The states after a move. Raises InvalidTransition when a table does not allow it."""
        for trigger in triggers:
            owner = next((t for t in self.tables.values() if trigger in t.triggers()), None)
            value = getattr(states, owner.attribute) if owner is not None else None
            row = owner.find(trigger, value) if owner is not None else None
            if owner is None or row is None:
                name = owner.name if owner is not None else "no machine"
                raise InvalidTransition(name, trigger, value)
            states = replace(states, **{owner.attribute: row.dest})
        if states.triple not in self.legal:
            raise InvalidTransition("joint", "+".join(triggers), states.triple)
        return states

    def undo_of(self, states: InstanceStates, triggers: Any) -> list[str]:
        """Compensating triggers of a move, last first; none when it was not made."""
        undo: list[str] = []
        for trigger in reversed(tuple(triggers)):
            for table in self.tables.values():
                value = getattr(states, table.attribute)
                row = next(
                    (r for r in table.rows if r.trigger == trigger and r.dest == value), None
                )
                if row is not None and row.undo is not None:
                    undo.append(row.undo)
        return undo if len(undo) == len(tuple(triggers)) else []


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


class _Astray(Exception):
    """A walk that the tables allow leads to where it should not."""


class _Moves(Protocol):
    """What may come next at a place, in words, and where it leads."""

    start: Place

    def of(self, place: Place) -> Iterator[tuple[str, Place]]:
        """Raises InvalidTransition for a move that a table does not allow."""
        ...


def product_of(
    name: str, atoms: Sequence[Any], laws: Laws | None = None
) -> tuple[nx.DiGraph, list[Flaw]]:
    """Every place that can be reached, as a graph, and what is illegal in it.

    Places are come to in the order of their distance, so that the way to a flaw is the shortest.
    """
    chosen = laws or Laws()
    moves: _Moves
    if any(isinstance(atom, Remove) for atom in atoms):
        moves = _Removal(atoms, chosen)
    else:
        moves = _Building(atoms, chosen)
    graph = nx.DiGraph()
    graph.add_node(moves.start)
    flaws: dict[str, Flaw] = {}

    def flaw(text: str, place: Place, *more: str) -> None:
        if text not in flaws:
            flaws[text] = Flaw(name, text, (*_story(graph, moves.start, place), *more))

    todo = deque([moves.start])
    while todo:
        place = todo.popleft()
        moved = False
        try:
            for told, target in moves.of(place):
                moved = True
                if target.states.triple not in chosen.legal:
                    flaw(f"{_words(target.states)} is not legal", place, f"{told} -> {target}")
                    continue
                if target not in graph:
                    todo.append(target)
                if not graph.has_edge(place, target):
                    graph.add_edge(place, target, told=told)
        except (InvalidTransition, _Astray) as error:
            flaw(str(error), place)
            continue
        if not moved and not place.ended:
            flaw("a run stays here", place)
    return graph, list(flaws.values())


def _words(states: InstanceStates) -> str:
    return f"{states.vm_state}/{label(states.task_state)}/{power.NAMES[states.power_state]}"


def _story(graph: nx.DiGraph, start: Place, end: Place) -> tuple[str, ...]:
    way = nx.shortest_path(graph, start, end)
    return tuple(f"{graph.edges[a, b]['told']} -> {b}" for a, b in pairwise(way))


class _Building:
    """A flow that makes things, and goes back when it fails."""

    def __init__(self, atoms: Sequence[Any], laws: Laws) -> None:
        self.laws = laws
        self.steps = [atom for atom in atoms if isinstance(atom, Step)]
        if not any(isinstance(step, Complete) for step in self.steps):
            self.steps.append(Complete())
        self.start = Place(0, InstanceStates(
            *(laws.tables[name].initial for name in ("vm", "task", "power"))
        ))  # fmt: skip
        # the first step of what a retry begins again
        retries = [i for i, atom in enumerate(atoms) if not isinstance(atom, Step)]
        self.again = retries[0] if retries and _attempts(atoms[retries[0]]) > 1 else None

    def of(self, place: Place) -> Iterator[tuple[str, Place]]:
        """See _Moves."""
        if place.ended:
            yield from self._after_the_end(place)
            return
        yield "kill -9, and a resume", place
        yield from self._back(place) if place.back else self._forward(place)

    def _apply(self, states: InstanceStates, *triggers: str) -> InstanceStates:
        return self.laws.apply(states, triggers)

    def _report(self, states: InstanceStates, value: int) -> InstanceStates:
        if states.power_state == value:
            return states
        return self._apply(states, power.report_trigger(value))

    def _forward(self, place: Place) -> Iterator[tuple[str, Place]]:
        index, moment = divmod(place.at, 3)
        step = self.steps[index]
        if isinstance(step, Complete):
            if moment == 0:
                states = self._apply(place.states, *step.triggers)
                yield "complete", replace(place, states=states, at=place.at, ended=True)
                refused = replace(place, states=states)
                yield f"{step.name} is refused", self._turned(refused, "a stop request")
        else:
            triggers = (step.on_start, step.on_done, ())[moment]
            states = self._apply(place.states, *triggers)
            if moment == 1 and step.kind == "guest":
                states = self._report(states, power.RUNNING)
            told = f"{step.name}: {('begun', 'done', 'over')[moment]}"
            yield told, replace(place, states=states, at=place.at + 1)
        for fault in ("an error", "a stop request", "a delete"):
            yield f"{fault} at {step.name}", self._turned(place, fault)
        if place.states.power_state == power.RUNNING:
            for value in _DEATHS:
                dead = replace(place, states=self._report(place.states, value))
                yield (
                    f"the guest is reported {power.NAMES[value]}",
                    self._turned(dead, "a dead guest"),
                )

    def _turned(self, place: Place, fault: str) -> Place:
        states = place.states
        if fault == "a delete":
            states = self._apply(states, "start_deleting")
        return replace(place, states=states, back=True, fault=fault)

    def _back(self, place: Place) -> Iterator[tuple[str, Place]]:
        states = place.states
        if states.task_state != task.DELETING and place.fault != "a delete":
            deleting = self._apply(states, "start_deleting")
            yield "a delete comes in", replace(place, states=deleting, fault="a delete")
        if place.at < 0:
            if (
                states.task_state != task.DELETING
                and not place.held
                and states != self.start.states
            ):
                raise _Astray(f"all is undone, and the way back ends at {_words(states)}")
            yield "the rollback ends", self._ended(place)
            return
        if self._may_try_again(place):
            onward = replace(place, at=place.at + 1, back=False, fault="")
            yield "another host is tried", onward
        index, moment = divmod(place.at, 3)
        step = self.steps[index]
        under = replace(place, at=index * 3 - 1 if index else -1)
        if step.kind is not None and moment:
            gone = self._report(states, power.NOSTATE) if step.kind == "guest" else states
            yield f"{step.name} is undone", replace(under, states=self._walked(gone, step, place))
            yield f"{step.name} can't be undone", replace(under, held=True)
        else:
            walked = self._walked(states, step, place)
            yield f"{step.name} is walked back over", replace(under, states=walked)

    def _may_try_again(self, place: Place) -> bool:
        return (
            self.again is not None
            and place.at == self.again * 3 - 1
            and place.fault in _HOPEFUL
            and not place.held
        )

    def _walked(self, states: InstanceStates, step: Step, place: Place) -> InstanceStates:
        """One step of the way that the machine came; residue holds it where it is."""
        if states.task_state == task.DELETING or place.held:
            return states
        for triggers in (getattr(step, "triggers", ()), step.on_done, step.on_start):
            undo = self.laws.undo_of(states, triggers)
            if undo:
                states = self._apply(states, *undo)
        return states

    def _ended(self, place: Place) -> Place:
        states = place.states
        if states.task_state == task.DELETING:
            if not place.held:
                states = self._report(states, power.NOSTATE)
                states = self._apply(states, f"delete_{states.vm_state}", "finish_deleting")
        elif states.vm_state == vm.BUILDING:
            idle = states.task_state is None
            states = self._apply(states, *(("fail",) if idle else ("fail", "give_up")))
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
                    reported = replace(place, states=self._report(states, value))
                    yield f"reported {power.NAMES[value]}", reported
        deleting = self._apply(states, "start_deleting")
        yield "a delete", replace(place, states=deleting, held=True, fault="a delete")


class _Removal(_Building):
    """A flow that removes what another one has made: each undo succeeds, or leaves residue.

    It begins at a machine that is up, or in error, whatever its guest does.
    """

    def __init__(self, atoms: Sequence[Any], laws: Laws) -> None:
        self.laws = laws
        self.steps = [atom for atom in atoms if isinstance(atom, Remove)]
        self.again = None
        self.start = Place(-1, InstanceStates(vm.ACTIVE, None, power.RUNNING))

    def of(self, place: Place) -> Iterator[tuple[str, Place]]:
        """See _Moves."""
        if place.ended:
            yield from self._after_the_end(place)
        elif place.at < 0:
            yield from self._asked(place)
        elif place.at == len(self.steps):
            yield "the delete ends", self._ended(place)
        else:
            yield "kill -9, and a resume", place
            step = self.steps[place.at]
            gone = place.states
            if step.target.kind == "guest":
                gone = self._report(gone, power.NOSTATE)
            yield f"{step.name}: done", replace(place, at=place.at + 1, states=gone)
            yield f"{step.name}: can't be done", replace(place, at=place.at + 1, held=True)

    def _asked(self, place: Place) -> Iterator[tuple[str, Place]]:
        for vm_state in (vm.ACTIVE, vm.ERROR):
            for value, name in power.NAMES.items():
                states = InstanceStates(vm_state, None, value)
                if states.triple in self.laws.legal:
                    deleting = self._apply(states, "start_deleting")
                    told = f"a delete of a machine that is {vm_state} and {name}"
                    yield told, Place(0, deleting, fault="a delete")


def _attempts(retry: Any) -> int:
    hosts = getattr(retry, "hosts", None)
    return len(hosts) if hosts else 2
