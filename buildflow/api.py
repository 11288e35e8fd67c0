"""The engine for virtual machines: the general one, with the build flow and the drivers it needs.

Drivers are opened when the first build needs them: `list`, `show`, `history` and diagrams never
touch a hypervisor.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from buildflow.audit import Audit as Audit
from buildflow.audit import Auditor
from buildflow.config import Settings
from buildflow.drivers.protocols import ComputeDriver
from buildflow.drivers.world import LazyHosts, World
from buildflow.engine.core import Engine, Handle, Handles
from buildflow.engine.guard import Decision, Intention, decide
from buildflow.engine.staging import UNDONE
from buildflow.engine.store import ENDED, Row
from buildflow.errors import HostUnusable
from buildflow.flows.build import build_flow, normalise
from buildflow.flows.delete import delete_flow
from buildflow.flows.prebuild import validate
from buildflow.flows.reach import require_place, require_reach
from buildflow.flows.request import BuildRequest, parse_request

WorldFactory = Callable[[Settings], World]


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
        """The drivers, opened at first use. Raises HostUnusable when they can't be.

        Where conductors share hosts the one of this process is opened when it is needed: it may
        have nothing to do with what is on theirs, and an embedded one keeps others out.
        """
        with self._world_lock:
            if self._world is None:
                world = self._open_world(self.settings)
                try:
                    if world.capacity is None:
                        self._serve_shared_hosts(world)
                    if world.capacity is None:
                        world.open_hosts()
                except BaseException:
                    world.close()
                    raise
                self._world = world
            return cast(World, self._world)

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
        if row["status"] in ENDED:
            self.require_reach(row)
        return super().delete(row["id"])

    def take_up(self, row: Row, intention: Intention) -> Handle:
        """See Engine.take_up. Its handle raises HostUnusable, with nothing done, when what the
        build has made is out of reach.
        """
        try:
            self.require_reach(row)
        except HostUnusable as error:
            future: Future[None] = Future()
            future.set_exception(error)
            return Handle(self, row["id"], future)
        return super().take_up(row, intention)

    def others(self) -> Callable[[Row], bool]:
        """See Engine.others: a conductor that lives, where the build is on a host of its."""
        from buildflow.distributed.request import Others

        return Others(self)

    def require_reach(self, row: Row) -> None:
        """See Engine.require_reach: what it has made is not within reach."""
        left = self._left_of(row)
        if left:
            require_reach(self.world, left)

    def require_place(self, build: str) -> None:
        """Raise OutOfReach, with the cure, where what a build has made is not to be undone from
        here: by other credentials, on another hypervisor, in another home. Touches nothing.
        """
        require_place(self.world, self._left_of(self.store.find(build)))

    def _left_of(self, row: Row) -> list[Row]:
        if not _is_a_machine(row):
            return []
        return [each for each in self.store.effects(row["id"]) if each["state"] != UNDONE]

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
        if _is_a_machine(row):
            return delete_flow(**row["inputs"])
        return super().removal(row, flow)

    def gc(self, *, dry_run: bool = False) -> Audit:
        """Compare the world with the store, both ways, remove our strays, and note what power the
        hypervisor reports of machines that nobody works on; see audit.py.

        With `dry_run` nothing is touched.
        """
        auditor = Auditor(self.store, self.world, self.definitions, self.settings, self.clock)
        return auditor.audit(dry_run=dry_run)

    def close(self, *, cancel: bool = False) -> None:
        """See Engine.close; drivers are let go of last."""
        super().close(cancel=cancel)
        with self._world_lock:
            if self._world is not None:
                self._world.close()
                self._world = None


def _is_a_machine(row: Row) -> bool:
    """Whether it is of our own flow, and not of one that somebody has registered."""
    return bool(row["flow"] == f"{build_flow.__module__}:{build_flow.__qualname__}")


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
    """The drivers that the settings name, each opened when it is needed. `say` is told, a line at
    a time, what to wait for.
    """
    from buildflow.drivers.registry import open_driver, simulates

    if simulates(settings):
        from buildflow.drivers.simulated.factory import all_drivers

        named = (settings.network_driver, settings.volume_driver, settings.image_driver)
        if all(name in (None, "simulated") for name in named):
            return all_drivers(settings, say)
    compute = open_driver("compute", settings, say)

    def opened() -> ComputeDriver:
        try:
            compute.check()
        except BaseException:
            compute.close()
            raise
        return compute

    return World(
        computes=LazyHosts(dict.fromkeys(compute.hosts(), opened)),
        network=partial(open_driver, "network", settings, say),
        volume=partial(open_driver, "volume", settings, say),
        image=partial(open_driver, "image", settings, say),
    )


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
