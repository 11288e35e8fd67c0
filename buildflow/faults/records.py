"""What the store holds of one build, followed commit by commit: for positions and for the oracle.

Every text that becomes durable passes here, so that a secret among it is seen at once; every line
of the history is checked against the tables, and every triple against the joint table.
"""

from __future__ import annotations

import json
from collections.abc import Hashable
from typing import Any

from buildflow.engine.journal import Unit
from buildflow.engine.statements import Statements
from buildflow.errors import BuildflowError
from buildflow.states import InstanceStates, apply, joint
from buildflow.states.machine import OWNER_OF, TABLES, label

EDGES: tuple[tuple[str, str, object, object], ...] = tuple(
    (name, row.trigger, row.source, row.dest)
    for name, table in TABLES.items()
    for row in table.all_rows()
)
"""Every declared transition: machine, trigger, from, to. Its place is its bit."""
_BIT = {(name, trigger, source): 1 << i for i, (name, trigger, source, _) in enumerate(EDGES)}


def edge_names() -> tuple[str, ...]:
    """Every declared transition in words."""
    return tuple(f"{m}: {label(s)} -> {label(d)} ({t})" for m, t, s, d in EDGES)


class Records:
    """See the module. `marks` are texts that must never be stored."""

    def __init__(self, statements: Statements, marks: tuple[str, ...] = ()) -> None:
        self._s, self._marks = statements, marks
        self.status = "queued"
        self.atoms: dict[str, tuple[Any, ...]] = {}
        self.effects: dict[str, tuple[Any, ...]] = {}
        self.other: dict[str, Hashable] = {}
        self.states = InstanceStates()
        self.done: set[str] = set()  # keys of effects that were made for sure
        self.gave_up_from: str | None = None
        self.edges = 0
        self.flaws: list[str] = []
        self.epoch = 0
        self.owner = ""  # who has claimed it last, "" as long as nobody has
        self.writes = 0
        self.may_reopen = False  # a delete was asked for, which takes apart what is complete
        self._hash: dict[bool, int] = {}

    def copy(self) -> Records:
        """Another one that goes its own way from here."""
        new = Records(self._s, self._marks)
        new.status, new.states, new.edges = self.status, self.states, self.edges
        new.atoms, new.effects = dict(self.atoms), dict(self.effects)
        new.done, new.gave_up_from = set(self.done), self.gave_up_from
        new.other, new.flaws = dict(self.other), list(self.flaws)
        new.epoch, new.owner = self.epoch, self.owner
        new.writes, new.may_reopen = self.writes, self.may_reopen
        return new

    def committed(self, unit: Unit) -> None:
        """Take in a unit that is durable now."""
        s = self._s
        self._hash.clear()
        self.writes += 1
        self._follow_owner(unit)
        for statement, rows in unit.many:
            for row in rows:
                if self._marks:
                    self._search(row)
                if statement is s.atom:
                    self.atoms[row["name"]] = (row["state"], row["intention"], _failed(row))
                elif statement is s.effect:
                    if row["state"] == "done":
                        self.done.add(row["key"])
                    self.effects[row["key"]] = (row["step"], row["attempt"], row["state"])
                elif statement is s.build_status:
                    if self.status == "complete" != row["status"] and not self.may_reopen:
                        self.flaws.append("again: it was complete, and is taken apart")
                    self.status = row["status"]
                    self.other["build"] = (
                        row["status"], row["attempt"], row["host"], row["fault"] is None,
                    )  # fmt: skip
                elif statement is s.history:
                    self._history(row)
                elif statement is s.flow:
                    self.other["flow"] = (row["name"], row["state"])
        if unit.instance is not None:
            i = unit.instance
            triple = (i["vm_state"], i["task_state"], i["power_state"])
            if triple != self.states.triple:
                self.flaws.append(f"history: the row says {triple}, its history {self.states}")
            self.other["instance"] = triple

    def _follow_owner(self, unit: Unit) -> None:
        if unit.free is not None:
            statement, params = unit.free
            if statement is self._s.claim and unit.rowcount:
                self.epoch, self.owner = params["epoch"], params["owner"]
        elif unit.new is not None:
            self.epoch = unit.epoch
        elif unit.epoch != self.epoch:
            self.flaws.append("fence: written by one that another has taken the build from")

    def _search(self, row: Any) -> None:
        for value in row.values():
            if isinstance(value, str) and any(mark in value for mark in self._marks):
                self.flaws.append("secret: a password was written to the store")

    def _history(self, row: Any) -> None:
        found = InstanceStates(row["vm_state"], row["task_state"], row["power_state"])
        if joint.find(*found.triple) is None:
            self.flaws.append(f"joint: {found.triple} is not legal")
        if row["trigger"] == "accept":
            self.states = found
            return
        triggers = row["trigger"].split("+")
        if "give_up" in triggers:
            self.gave_up_from = self.states.task_state
        for trigger in triggers:
            owner = OWNER_OF.get(trigger, "")
            source = getattr(self.states, TABLES[owner].attribute) if owner else None
            self.edges |= _BIT.get((owner, trigger, source), 0)
        try:
            expected = apply(self.states, triggers)
        except BuildflowError as error:
            self.flaws.append(f"history: {error}")
        else:
            if expected != found:
                self.flaws.append(f"history: {row['trigger']} led to {found}, not to {expected}")
        self.states = found

    def hash(self, settled: bool) -> int:
        """A number that equal records share. `settled`: the run only goes back from here, so that
        what is undone is as if it had never been.
        """
        found = self._hash.get(settled)
        if found is None:
            found = self._hash[settled] = hash(
                (
                    frozenset(self.other.items()),
                    canonical_effects(self.effects.values(), settled),
                    canonical_atoms(self.atoms, settled),
                )
            )
        return found


def canonical_effects(effects: Any, settled: bool) -> frozenset[Any]:
    """Effects as a position counts them."""
    return frozenset(e for e in effects if not (settled and e[2] == "undone"))


def canonical_atoms(atoms: dict[str, tuple[Any, ...]], settled: bool) -> frozenset[Any]:
    """TaskFlow's atoms as a position counts them."""
    if not settled:
        return frozenset(atoms.items())
    return frozenset((n, a) for n, a in atoms.items() if a[0] not in ("REVERTED", "PENDING"))


def _failed(row: Any) -> Any:
    """The classes of a failure, which decide whether another host is tried."""
    if row["state"] != "FAILURE":
        return None
    failure = json.loads(row["detail"]).get("failure")
    return tuple(failure["exc_type_names"]) if failure else None
