"""`gc`: the world compared with the store, both ways.

* A *stray* exists and should not: the ledger calls its effect undone, and its build has ended.
* A *lost* thing should exist and does not: the ledger calls it done, and its step, asked by key,
  finds nothing. What does not answer is *unknown*, with the reason, and never called lost; what is
  on a host that is served elsewhere is left to that one.
* *Power* is what the hypervisor now says of a guest of ours that nobody works on, where that is not
  what it said last: its owner stopped it, or it died. The report is written to the store.
* A *foreign* one carries our tags but belongs to no build of this store; it is never touched.

The world is read before the ledger, for an intent is durable before its effect; and whatever looks
like a stray is looked for again, for its undo may have ended in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from buildflow.drivers.protocols import Thing
from buildflow.drivers.world import World
from buildflow.engine.clock import Clock
from buildflow.engine.definitions import Definitions
from buildflow.engine.locks import KeyedLocks
from buildflow.engine.reported import record_power
from buildflow.engine.staging import DONE, UNDONE
from buildflow.engine.step import Step
from buildflow.engine.store import ENDED, Row, Store
from buildflow.errors import BuildflowError, HostElsewhere, HostUnusable, StoreError
from buildflow.states import power


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found; see the module. `removed` and `failed` say what became of the strays; `power`
    has the names of the states that `was` known and is `now` reported.
    """

    strays: list[Row] = field(default_factory=list)
    lost: list[Row] = field(default_factory=list)
    foreign: list[Row] = field(default_factory=list)
    removed: list[Row] = field(default_factory=list)
    failed: list[Row] = field(default_factory=list)
    power: list[Row] = field(default_factory=list)
    unknown: list[Row] = field(default_factory=list)

    def to_json(self) -> Row:
        """As `buildflow gc --json` prints it."""
        return {
            "strays": self.strays,
            "lost": self.lost,
            "foreign": self.foreign,
            "removed": self.removed,
            "failed": self.failed,
            "power": self.power,
            "unknown": self.unknown,
        }


class Auditor:
    """Compares, removes strays, and notes what power the hypervisor reports. The ledger it leaves
    alone: it is right already.
    """

    def __init__(
        self, store: Store, world: World, definitions: Definitions, settings: Any, clock: Clock
    ) -> None:
        self._store, self._world, self._clock = store, world, clock
        self._definitions, self._settings = definitions, settings
        self._steps: dict[str, dict[str, Step]] = {}

    def audit(self, *, dry_run: bool) -> Audit:
        """The whole comparison; with `dry_run` nothing is touched."""
        things = self._world.inventory()
        ledger = Ledger(self._store)
        found = Audit()
        present: set[str] = set()
        strays: list[tuple[Thing, Row]] = []
        for thing in things:
            effect = ledger.effect_of(thing)
            if effect is not None:
                present.add(effect["key"])
                if effect["state"] == UNDONE and self._has_ended(effect["build"]):
                    strays.append((thing, effect))
            elif self._is_foreign(thing):
                found.foreign.append(_entry(thing))
        if strays:
            still = {(thing.kind, thing.id) for thing in self._world.inventory()}
            strays = [each for each in strays if (each[0].kind, each[0].id) in still]
        for thing, effect in strays:
            entry = {**_entry(thing), "build": effect["build"]}
            found.strays.append(entry)
            if not dry_run:
                self._remove(effect, entry, found)
        for effect in ledger.done():
            if effect["key"] not in present and self._is_lost(effect, found):
                found.lost.append(_told(effect))
        for effect in ledger.guests():
            self._report_power(effect, found, dry_run=dry_run)
        return found

    def _is_foreign(self, thing: Thing) -> bool:
        if thing.build is None:
            return thing.key is not None
        return self._store.build(thing.build) is None

    def _remove(self, effect: Row, entry: Row, found: Audit) -> None:
        try:
            step = self._step(effect)
            if step is None:
                raise HostUnusable(f"this version's flow has no step {effect['step']!r}")
            elsewhere = step.elsewhere(effect["facts"])
            if elsewhere is not None:
                raise HostUnusable(elsewhere)
            step.delete(effect["key"], effect["facts"])
        except BuildflowError as error:
            found.failed.append({**entry, "reason": error.summary})
        else:
            found.removed.append(entry)

    def _is_lost(self, effect: Row, found: Audit) -> bool:
        row = self._store.build(effect["build"])
        if row is None or row["status"] != "complete":
            return False  # somebody is at work on it, or it says itself what it lacks
        with self._asking(effect, found):
            step = self._step(effect)
            if step is None or step.elsewhere(effect["facts"]) is not None:
                return False  # it cannot be seen from here
            return not step.exists(effect["key"], effect["facts"])
        return False

    def _report_power(self, effect: Row, found: Audit, *, dry_run: bool) -> None:
        row = self._store.build(effect["build"])
        if row is None or row["status"] not in ENDED or row["task_state"] is not None:
            return  # whoever is at work on it hears of it
        with self._asking(effect, found):
            step = self._step(effect)
            if step is None or step.elsewhere(effect["facts"]) is not None:
                return
            facts = effect["facts"]
            domain = self._world.on(facts["host"]).find_domain(facts["uuid"])
            now = power.NOSTATE if domain is None else domain.power_state
            if now == row["power_state"]:
                return
            if dry_run or record_power(self._store, self._clock, row, now):
                was = power.NAMES[row["power_state"]]
                found.power.append({"build": row["id"], "was": was, "now": power.NAMES[now]})

    @contextmanager
    def _asking(self, effect: Row, found: Audit) -> Iterator[None]:
        """What does not answer is noted, and the audit goes on."""
        try:
            yield
        except StoreError:
            raise
        except HostElsewhere:
            return
        except BuildflowError as error:
            found.unknown.append({**_told(effect), "reason": error.summary})

    def _has_ended(self, build: str) -> bool:
        row = self._store.build(build)
        return row is not None and row["status"] in ENDED

    def _step(self, effect: Row) -> Step | None:
        steps = self._steps.get(effect["build"])
        if steps is None:
            row = self._store.find(effect["build"])
            definition = self._definitions.lend(row["flow"], row["inputs"])
            definition.bind(Bystander(self._world, row, self._settings))
            steps = self._steps[effect["build"]] = definition.steps
        return steps.get(effect["step"])


class Ledger:
    """Every effect of the store, found by what the outside says of a thing."""

    def __init__(self, store: Store) -> None:
        self._by_key = {row["key"]: row for row in store.all_effects(_ALL)}
        # the domain of a second attempt has the uuid of the first one's: what is there has it
        undone_first = sorted(self._by_key.values(), key=lambda row: row["state"] != UNDONE)
        self._by_id: dict[tuple[str, str | None], Row] = {
            (row["kind"], name): row for row in undone_first if (name := _outside_name(row))
        }

    def effect_of(self, thing: Thing) -> Row | None:
        """The effect that made `thing`; None when no build of this store did."""
        return (
            self._by_key.get(thing.key or "")
            or self._by_id.get((thing.kind, thing.id))
            or self._by_id.get((thing.kind, thing.key))
        )

    def guests(self) -> list[Row]:
        """Guests that may be there."""
        return [r for r in self._by_key.values() if r["kind"] == "guest" and r["state"] != UNDONE]

    def done(self) -> list[Row]:
        """Effects that should be there."""
        return [row for row in self._by_key.values() if row["state"] == DONE]


def _outside_name(effect: Row) -> str | None:
    """What the outside calls it, as far as that is known. Nobody has seen the domain or VIF of a
    call that was on its way when another owner ended the build, but it has the name it was to have.
    """
    facts = effect["facts"]
    name: str | None = (
        effect["external_id"] or facts.get("uuid") or (facts.get("vif") or {}).get("id")
    )
    return name


class Bystander:
    """What a step may ask of a run when there is none: an audit acts outside of any build."""

    def __init__(self, world: World, row: Row, settings: Any) -> None:
        self.world, self.row, self.settings = world, row, settings
        self.id, self.attempt = row["id"], row["attempt"]
        self._locks = KeyedLocks()

    def hold(self, step: Step, key: str) -> Any:
        """Its own locks: there is nobody to share them with."""
        return self._locks.hold(key)

    def report_power(self, value: int, step: str | None) -> None:
        """Nobody listens."""


def _told(effect: Row) -> Row:
    return {
        "kind": effect["kind"], "id": effect["external_id"], "key": effect["key"],
        "build": effect["build"],
    }  # fmt: skip


_ALL = ("intent", "done", "undone", "residue")


def _entry(thing: Thing) -> Row:
    return {"kind": thing.kind, "id": thing.id, "key": thing.key, "build": thing.build}
