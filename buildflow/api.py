"""The engine for virtual machines: the general one, with the build flow and the drivers it needs.

Drivers are opened when the first build needs them: `list`, `show`, `history` and diagrams never
touch a hypervisor.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from buildflow.config import Settings
from buildflow.drivers.protocols import Thing
from buildflow.drivers.world import World
from buildflow.engine.core import Engine, Handle, Handles
from buildflow.engine.guard import Decision, Intention, decide
from buildflow.engine.run import INTENT, RESIDUE, UNDONE
from buildflow.engine.step import Step
from buildflow.engine.store import ENDED, TERMINAL, Row
from buildflow.errors import BuildflowError, HostUnusable
from buildflow.flows.build import build_flow, normalise
from buildflow.flows.delete import delete_flow
from buildflow.flows.prebuild import validate
from buildflow.flows.request import BuildRequest, parse_request

WorldFactory = Callable[[Settings], World]


@dataclass(frozen=True, slots=True)
class Audit:
    """What `gc` found. `strays` exist and should not; `lost` should exist and do not.

    `foreign` carry our tags but belong to no build of this store: they are never touched.
    """

    strays: list[Row]
    lost: list[Row]
    foreign: list[Row]
    removed: list[Row]
    failed: list[Row]

    def to_json(self) -> Row:
        """As `buildflow gc --json` prints it."""
        return {
            "strays": self.strays,
            "lost": self.lost,
            "foreign": self.foreign,
            "removed": self.removed,
            "failed": self.failed,
        }


class VmEngine(Engine):
    """See the module and engine/core.py: Engine."""

    def __init__(
        self,
        settings: Settings,
        world: World | None = None,
        *,
        open_world: WorldFactory | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(settings, world, **kwargs)
        self._open_world = open_world or open_world_of
        self._world_lock = threading.Lock()

    @property
    def world(self) -> World:
        """The drivers, opened at first use. Raises HostUnusable when they can't be."""
        with self._world_lock:
            if self._world is None:
                self._world = self._open_world(self.settings)
                if self._world.capacity is None:
                    self._serve_shared_hosts(self._world)
            world: World = self._world
            return world

    def build(
        self, request: BuildRequest | None = None, *, request_id: str | None = None, **fields: Any
    ) -> Handle:
        """Build a machine; returns at once. Give a BuildRequest or its fields.

        The same `request_id` always gives the same build, however often it is asked for. Raises
        BadInput, NotFound, Conflict, Exhausted or HostUnusable with nothing done.
        """
        parsed = request if request is not None else parse_request(**fields)
        row = self.accept_build(parsed, request_id=request_id)
        return self.start(row)

    def accept_build(
        self, request: BuildRequest, *, request_id: str | None = None, queue: bool = False
    ) -> Row:
        """Check a request against the world and make it durable; `queue` leaves it unowned.

        A queued one is checked by whoever takes it, for this process may have no hypervisor.
        """
        if request_id is not None:
            earlier = self.store.by_request(request_id)
            if earlier is not None:
                return earlier
        inputs = request.inputs()
        inputs.setdefault("max_attempts", self.settings.max_attempts)
        if self.settings.virt_type and not request.virt_type:
            inputs["virt_type"] = self.settings.virt_type
        import uuid

        build_id = str(uuid.uuid4())
        if not queue:
            validate(self.world, normalise_inputs(inputs), build_id)
            self.world.validated.add(build_id)
        try:
            row = self.accept(
                build_flow,
                inputs,
                name=request.name,
                request_id=request_id,
                build_id=build_id,
                instance=True,
                queue=queue,
            )
        except BaseException:
            self.forget_validated(build_id)
            raise
        if row["id"] != build_id:
            self.forget_validated(build_id)
        return row

    def _serve_shared_hosts(self, world: World) -> None:
        """Where the store knows hosts of conductors, what is on them can be finished from here."""
        from buildflow.distributed.hosts import stand_by_shared

        stand_by_shared(world, self.settings, self.store, self.clock)

    def delete(self, name: str) -> Handle:
        """See Engine.delete. A machine on the host of a conductor that lives is removed by it."""
        row = self.store.find(name)
        if row["status"] in ENDED and self._is_conducted(row, Intention.DELETE):
            return self._ask_conductor(row, Intention.DELETE)
        return super().delete(row["id"])

    def cleanup(self, name: str | None = None) -> Handles:
        """See Engine.cleanup. What is on the host of a conductor that lives is left to it."""
        if name is not None:
            rows = [self.store.find(name)]
        else:
            rows = [row for row in self.store.unfinished() if row["status"] == "residue"]
        return [
            self._ask_conductor(row, Intention.CLEANUP)
            if self._is_conducted(row, Intention.CLEANUP)
            else self.start(row, Intention.CLEANUP)
            for row in rows
        ]

    def _is_conducted(self, row: Row, intention: Intention) -> bool:
        from buildflow.distributed.request import host_served

        return decide(row, intention) is not Decision.NOTHING and host_served(self, row)

    def _ask_conductor(self, row: Row, intention: Intention) -> Handle:
        from buildflow.distributed.request import ask

        return ask(self, row, intention)

    def forget_validated(self, build_id: str) -> None:
        """A build that was checked here but is not run here."""
        if self._world is not None:
            self._world.validated.discard(build_id)

    def removal(self, row: Row, flow: Any) -> Any:
        """The delete flow; for a flow of your own the general one."""
        if row["flow"] == f"{build_flow.__module__}:{build_flow.__qualname__}":
            return delete_flow(**row["inputs"])
        return super().removal(row, flow)

    def gc(self, *, dry_run: bool = False) -> Audit:
        """Compare the world with the store, both ways, and remove our strays.

        A stray is something of a build of this store that its ledger calls undone, or of a build
        that has ended. With `dry_run` nothing is touched.
        """
        ledger = {row["key"]: row for row in self.store.all_effects(_ALL_STATES)}
        # a later attempt's domain has the uuid of an earlier one's that is undone: what is not
        # undone has it
        undone_first = sorted(ledger.values(), key=lambda row: row["state"] != UNDONE)
        by_outside = {
            (row["kind"], row["external_id"]): row for row in undone_first if row["external_id"]
        }
        things = self.world.inventory()
        strays: list[tuple[Thing, Row]] = []
        foreign: list[Row] = []
        present: set[str] = set()
        for thing in things:
            effect = (
                ledger.get(thing.key or "")
                or by_outside.get((thing.kind, thing.id))
                or by_outside.get((thing.kind, thing.key))
            )
            if effect is None:
                if thing.build is not None or thing.key is not None:
                    owner = self.store.build(thing.build) if thing.build else None
                    if owner is None:
                        foreign.append(_thing(thing))
                continue
            present.add(effect["key"])
            if effect["state"] == UNDONE:
                strays.append((thing, effect))
        listed = {thing.kind for thing in things} | _listed_kinds(self.world)
        elsewhere = self._builds_elsewhere()
        lost = [
            {"kind": e["kind"], "id": e["external_id"], "key": e["key"], "build": e["build"]}
            for e in ledger.values()
            if e["state"] == "done"
            and e["key"] not in present
            and e["kind"] in listed
            and (e["kind"] != "vif" or e["external_id"])  # most are plugged by the hypervisor
            and (e["kind"] == "claim" or e["build"] not in elsewhere)
        ]
        removed: list[Row] = []
        failed: list[Row] = []
        if not dry_run:
            for thing, effect in strays:
                entry = {**_thing(thing), "build": effect["build"]}
                try:
                    self._remove_stray(effect)
                except BuildflowError as error:
                    failed.append({**entry, "reason": error.summary})
                else:
                    removed.append(entry)
        return Audit(
            strays=[{**_thing(thing), "build": effect["build"]} for thing, effect in strays],
            lost=lost,
            foreign=foreign,
            removed=removed,
            failed=failed,
        )

    def _builds_elsewhere(self) -> set[str]:
        """Builds on hosts that this process did not look at: their things are not here to see."""
        if self.world.capacity is None:
            return set()
        here = set(self.world.hosts)
        return {row["id"] for row in self.store.list(None) if row["host"] not in (None, *here)}

    def _remove_stray(self, effect: Row) -> None:
        from buildflow.engine.definitions import import_factory
        from buildflow.engine.fingerprint import atoms_of

        row = self.store.find(effect["build"])
        if row["status"] not in (*TERMINAL, "residue"):
            raise HostUnusable(f"build {row['id']} is at work: resume or cancel it first")
        flow = import_factory(row["flow"])(**row["inputs"])
        for atom in atoms_of(flow):
            if isinstance(atom, Step) and atom.name == effect["step"]:
                atom.run = _Bystander(self.world, row["id"])  # type: ignore[assignment]
                atom.delete(effect["key"], effect["facts"])
                return
        raise HostUnusable(f"this version's flow has no step {effect['step']!r} to undo it")

    def close(self, *, cancel: bool = False) -> None:
        """See Engine.close; drivers are let go of last."""
        super().close(cancel=cancel)
        with self._world_lock:
            if self._world is not None:
                self._world.close()
                self._world = None


class _Bystander:
    """What a step's `delete` may ask of a run when there is none: gc acts outside of any build."""

    def __init__(self, world: World, build: str) -> None:
        from buildflow.engine.locks import KeyedLocks

        self.world, self.id = world, build
        self.locks = KeyedLocks()

    def report_power(self, value: int, step: str | None) -> None:
        """Nobody listens."""


_ALL_STATES = (INTENT, "done", UNDONE, RESIDUE)


def normalise_inputs(inputs: Row) -> Row:
    """A build's inputs as flows/build.py completes them."""
    names = (
        "name", "image", "boot_volume", "volumes", "networks", "no_network", "memory_mib", "vcpus",
        "virt_type", "hosts",
    )  # fmt: skip
    defaults: Row = {
        "image": None, "boot_volume": None, "volumes": (), "networks": (), "no_network": False,
        "memory_mib": 512, "vcpus": 1, "virt_type": None, "hosts": (),
    }  # fmt: skip
    given: dict[str, Any] = {name: inputs.get(name, defaults.get(name)) for name in names}
    return normalise(**given)


def open_world_of(settings: Settings, say: Callable[[str], None] = lambda _message: None) -> World:
    """The drivers that the settings name. `say` is told, a line at a time, what to wait for."""
    from buildflow.drivers.registry import open_driver, simulates

    if simulates(settings):
        from buildflow.drivers.simulated.factory import all_drivers

        named = (settings.network_driver, settings.volume_driver, settings.image_driver)
        if all(name in (None, "simulated") for name in named):
            return all_drivers(settings, say)
    compute = open_driver("compute", settings, say)
    try:
        compute.check()
        return World(
            computes=dict.fromkeys(compute.hosts(), compute),
            network=partial(open_driver, "network", settings, say),
            volume=partial(open_driver, "volume", settings, say),
            image=partial(open_driver, "image", settings, say),
        )
    except BaseException:
        compute.close()
        raise


def open_engine(
    home: str | Path | None = None, *, settings: Settings | None = None, **options: Any
) -> VmEngine:
    """An engine for virtual machines; `buildflow.open` is this function.

    `home` holds store and disks (default: BUILDFLOW_HOME or the user's data folder). Options that
    are fields of config.Settings are taken as such; the others go to VmEngine (`listener`,
    `world`, `clock`, `points`, `parallel`). Raises StoreError when the store can't be opened.
    """
    chosen = settings or Settings()
    fields = {name for name in Settings.__dataclass_fields__ if name in options}
    changes = {name: options.pop(name) for name in fields}
    if home is not None:
        # QEMU is given paths below it, and a resumed build may run in another directory
        changes["home"] = Path(home).expanduser().absolute()
    return VmEngine(replace(chosen, **changes), **options)


def _thing(thing: Thing) -> Row:
    return {"kind": thing.kind, "id": thing.id, "key": thing.key, "build": thing.build}


def _listed_kinds(world: World) -> set[str]:
    """Kinds that the drivers' inventories list whether or not there is one."""
    kinds = {"directory", "domain", "guest", "port", "volume", "disk"}
    return kinds if world.capacity is None else {*kinds, "claim"}
