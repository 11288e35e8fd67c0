"""The scenes of machines: a build, a delete or a cleanup in the simulated world, with every kind of
fault, after whatever was done to the machine before.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Hashable
from enum import StrEnum
from typing import Any, Final

from buildflow.api import VmEngine
from buildflow.drivers.protocols import Json
from buildflow.drivers.simulated import SECRET_MARK, SimulatedWorld, drivers_of
from buildflow.engine.core import Engine
from buildflow.engine.guard import Intention
from buildflow.engine.store import Row
from buildflow.errors import BadInput
from buildflow.faults.engine_scene import BUILD_ID, EngineScene, FreeClock, Laid
from buildflow.faults.injector import Follow, Injector
from buildflow.faults.kinds import Act, Kind
from buildflow.faults.plan import Fault
from buildflow.faults.proxies import ArmedWorld
from buildflow.faults.scene import Inventory, Outcome
from buildflow.faults.visit import Visit
from buildflow.flows.build import build_flow
from buildflow.states import power, vm


class CountedWorld(SimulatedWorld):
    """A simulated world that counts its changes, so that it is hashed once after each."""

    version = 0

    def become(self, other: CountedWorld) -> None:
        """Be as `other` is, for all who have this one."""
        self.state = other.state.copy()
        self._log, self._violations = list(other._log), list(other._violations)
        self._latest = other._latest
        self._offset = other._latest - self.clock.monotonic()
        self.version += 1

    def commit(self, change: Any) -> None:
        """See SimulatedWorld."""
        super().commit(change)
        self.version += 1


class Before(StrEnum):
    """What has become of a machine before the run that is explored."""

    NOTHING = "nothing"  # it has been accepted, and no more
    BUILT = "built"
    FAILED = "failed"  # its build's last step failed; it was rolled back
    LEFT = "left"  # the same, and its guest could not be stopped: all is residue


_LAST_STEP_FAILS: Final = Fault("er", None, "finish:execute")
_PREPARED_BY: Final[dict[Before, tuple[Fault, ...]]] = {
    Before.BUILT: (),
    Before.FAILED: (_LAST_STEP_FAILS,),
    Before.LEFT: (_LAST_STEP_FAILS, Fault("er", None, "start:undo")),
}
_ENDS: Final = {
    Intention.RUN: Outcome.COMPLETE,
    Intention.DELETE: Outcome.ROLLED_BACK,
    Intention.CLEANUP: Outcome.ROLLED_BACK,
}


class MachineScene(EngineScene):
    """A run of one machine: its build unless `intention` says otherwise, after `prior`.

    `deleting` is its delete, after a build without faults. `own_ports` are the user's, which a
    build binds and never deletes.
    """

    instance = True
    copies_world = True

    def __init__(
        self,
        name: str,
        *,
        nics: int = 1,
        volumes: int = 2,
        hosts: tuple[str, ...] = ("sim1",),
        attach: str = "qemu",
        boot_from_volume: bool = False,
        created_volume: bool = False,
        deleting: bool = False,
        own_ports: bool = False,
        api: str = "attachments",
        intention: Intention = Intention.RUN,
        prior: Before = Before.NOTHING,
    ) -> None:
        self.name, self.hosts, self.attach, self.api = name, hosts, attach, api
        if deleting:
            intention, prior = Intention.DELETE, Before.BUILT
        self.intention, self.prior, self.ends = intention, prior, _ENDS[intention]
        self.given = volumes
        ids = [f"{index:08x}-0000-4000-8000-0000000000aa" for index in range(volumes)]
        self.volume_ids = ids
        disks: list[Json] = [{"id": each} for each in ids]
        if created_volume:
            disks.append({"size": 1, "delete_on_termination": True})
        inputs: Row = {
            "name": "explored", "max_attempts": len(hosts), "hosts": list(hosts),
            "networks": [{} for _ in range(nics)], "no_network": nics == 0,
        }  # fmt: skip
        self.port_ids: list[str] = []
        if own_ports:
            # the world derives an id from what it holds, so that it is the same in each
            self.port_ids = [SimulatedWorld().add_port() for _ in range(min(nics, 1))]
            inputs["networks"] = [{"port_id": each} for each in self.port_ids]
        if boot_from_volume:
            inputs["boot_volume"], disks = disks[0], disks[1:]
        else:
            inputs["image"] = "cirros"
        inputs["volumes"] = disks
        super().__init__(build_flow, inputs)
        self._ended_by_others: dict[Hashable, tuple[Laid, float, bool]] = {}

    # --- the world ---------------------------------------------------

    def make_world(self) -> CountedWorld:
        """Networks and images as every simulated world has them, and the volumes."""
        world = CountedWorld(clock=self.clock)
        for each in self.volume_ids:
            world.add_volume(id=each)
        for _ in self.port_ids:
            world.add_port()
        return world

    def copy_world(self, world: Any, clock: FreeClock) -> Any:
        """See EngineScene."""
        return world.copy(clock)

    def others_turn(self, intention: Intention) -> None:
        """See EngineScene. From what this process would leave if it were gone another one always
        ends the build alike, so that it is done once.
        """
        key = self.left_behind(), intention
        ended = self._ended_by_others.get(key)
        if ended is not None:
            laid, seconds, self.began = ended
            self.store.restore(zlib.decompress(laid.rows))
            self.records = laid.records.copy()
            self.clock.sleep(seconds)
            self.world.become(laid.world)
            return
        began = self.clock.monotonic()
        super().others_turn(intention)
        took = self.clock.monotonic() - began
        self._ended_by_others[key] = self.as_it_is(), took, self.began

    def laid_out(self) -> None:
        """See EngineScene."""
        self.touched: set[str] = set()
        self.began = False  # something of the run is durable
        self._hashed = (-1, 0)
        self._full: frozenset[str] = frozenset()

    def extra_checkpoint(self) -> Any:
        """See EngineScene."""
        return frozenset(self.touched), self._full, self.began

    def restore_extra(self, extra: Any) -> None:
        """See EngineScene."""
        touched, self._full, self.began = extra
        self.touched = set(touched)

    def armed_world(self, injector: Injector) -> Any:
        """See EngineScene."""
        drivers = drivers_of(
            self.world, *self.hosts, volume_attach=self.attach, volume_api=self.api
        )
        return ArmedWorld(drivers, injector)

    def make_engine(self, world: Any) -> Engine:
        """See EngineScene."""
        return VmEngine(
            self.settings, world, store=self.store, clock=self.clock,
            points=self.injector.hooks(), parallel=False, watch_s=None,
        )  # fmt: skip

    def secret_marks(self) -> tuple[str, ...]:
        """See EngineScene."""
        return (SECRET_MARK,)

    def prepare(self) -> None:
        """See EngineScene."""
        self._bare = self.inventory()
        if self.prior is not Before.NOTHING:
            self.injector = Injector(self, Follow(_PREPARED_BY[self.prior]))
            self.engine = self._open()
            self.engine.carry_out(self.build_id, take_over=True)
            self.records.gave_up_from = None  # what gave up then is not the run that is explored
        elif self.intention is Intention.DELETE:
            self.store.request_stop(self.build_id, "deleted")

    def before(self) -> Inventory:
        """See Scene: what was there before the machine was."""
        return self._bare

    def outcome(self) -> Outcome:
        """See Scene. As long as nothing of a delete or a cleanup is durable it has not begun, and
        whoever wanted it asks again.
        """
        if self.intention is not Intention.RUN and not self.began:
            return Outcome.UNFINISHED
        return super().outcome()

    def _on_commit(self, when: str, unit: Any) -> None:
        if when == "after" and unit.free is None:  # who owns it is no part of what it does
            self.began = True
        super()._on_commit(when, unit)

    def inventory(self) -> Inventory:
        """See Scene: a name for each record, such as `sim1/disks/<key>`."""
        found = self.world.snapshot()
        flat: Inventory = {}
        for host, tables in found["hosts"].items():
            for table, rows in tables.items():
                flat.update({f"{host}/{table}/{name}": row for name, row in rows.items()})
        for table in ("ports", "volumes"):
            flat.update({f"{table}/{name}": row for name, row in found[table].items()})
        return flat

    def world_hash(self) -> int:
        """See EngineScene."""
        if self._hashed[0] != self.world.version:
            self._hashed = (self.world.version, hash(self.world.digest()))
        return self._hashed[1]

    def extra_position(self) -> Hashable:
        """Disks that are full, what was changed by hand, and whether it has begun at all."""
        return self._full, frozenset(self.touched), self.began

    # --- what the ledger's effects are, outside ---------------------------------------------------

    def present(self) -> dict[str, str]:
        """See Scene: each effect of the ledger that exists, found without the steps' own `find`."""
        found = self.world.snapshot()
        return {
            e["key"]: e["kind"]
            for e in self.store.effects(self.build_id)
            if _PRESENT[e["kind"]](found, e)
        }

    def tolerated(self) -> frozenset[str]:
        """See Scene."""
        return frozenset(self.touched)

    def wrong_at_end(self, outcome: Outcome) -> list[str]:
        """See Scene: no secret outlives the start, and what is reported of the guest is true."""
        wrong = super().wrong_at_end(outcome)
        if outcome is Outcome.COMPLETE:
            wrong += [
                f"secret: {name} is still there" for name in self.inventory() if "/secrets/" in name
            ]
            domain = self.domain()
            told = self.records.states.power_state
            if domain is not None and not self.touched and domain["power"] != told:
                wrong.append(f"states: the guest is in power state {domain['power']}, not {told}")
        if outcome is Outcome.ROLLED_BACK and self.records.states.power_state != power.NOSTATE:
            wrong.append("states: nothing is left, and a power state is told of it")
        if outcome is Outcome.ROLLED_BACK and self.intention is Intention.DELETE:
            state = self.records.states.vm_state
            if state != vm.DELETED:
                wrong.append(f"states: its delete is over, and the machine is {state}")
        return wrong

    def flaws(self) -> list[str]:
        """See Scene: the world notes forbidden orders and keys made twice.

        A call that was on its way while another owner ended the build can be refused by nobody: it
        makes once more what that owner has removed, and the stale one takes it back. One call.
        """
        noted = list(self.world.violations)
        if self.in_flight:
            twice = next((each for each in noted if each.endswith("was created twice")), None)
            if twice is not None:
                noted.remove(twice)
        return [*super().flaws(), *(f"world: {each}" for each in noted)]

    def swept(self) -> bool:
        """See Scene: `gc`."""
        if not self.overtaken:
            return False
        self.injector.new_process()
        engine = self._open()
        assert isinstance(engine, VmEngine)
        found = engine.gc()
        return bool(found.removed) and not found.failed

    def asks_others(self, visit: Visit) -> bool:
        """See Scene: one host that can take the machine is enough."""
        return len(self.hosts) > 1 and (visit.driver, visit.call) == ("compute", "validate")

    # --- by hand ---------------------------------------------------

    def applies(self, kind: Kind, visit: Visit) -> bool:
        """See Scene."""
        if kind.act is Act.FULL:
            return not self._full
        if kind.act is Act.TAKE:
            return super().applies(kind, visit)
        return _APPLIES[kind.code](self)

    def act(self, kind: Kind, visit: Visit) -> bool:
        """See Scene."""
        if kind.act in (Act.STOP, Act.TAKE):
            return super().act(kind, visit)
        if kind.act is Act.FULL:
            for host in self.hosts:
                self.world.fill_disk(host)
            self._full = frozenset(self.hosts)
            return True
        before = self.inventory()
        changed = _BY_HAND[kind.code](self)
        after = self.inventory()
        names = before.keys() | after.keys()
        self.touched |= {n for n in names if before.get(n) != after.get(n)}
        return changed

    def finish(self) -> None:
        """See Scene."""
        self._make_room()
        super().finish()

    def undo_all(self) -> None:
        """See Scene."""
        self._make_room()
        super().undo_all()

    def _make_room(self) -> None:
        for host in self._full:
            self.world.free_disk(host)

    def domain(self) -> Json | None:
        """The build's domain as the world has it."""
        for record in self.world.state.tables["domains"].values():
            if record["uuid"] == BUILD_ID:
                return dict(record)
        return None

    def first_key(self, table: str) -> str | None:
        """The key of the first record of a table."""
        return next((r["key"] for r in self.world.state.tables[table].values()), None)

    def attached_volume(self) -> str | None:
        """The first volume with an attachment."""
        rows = self.world.state.tables["volumes"]
        return next((name for name, volume in rows.items() if volume["attachments"]), None)

    def our_port(self) -> str | None:
        """The first port."""
        return next(iter(self.world.state.tables["ports"]), None)


def _live(scene: MachineScene) -> bool:
    domain = scene.domain()
    return bool(domain and domain["active"] and domain["power"] == power.RUNNING)


_APPLIES: Final[dict[str, Callable[[MachineScene], bool]]] = {
    "gc": _live,
    "gp": _live,
    "gs": _live,
    "gu": lambda s: s.domain() is not None and bool((s.domain() or {})["persistent"]),
    "dd": lambda s: bool(s.world.state.tables["disks"]),
    "dr": lambda s: bool(s.world.state.tables["directories"]),
    "pr": lambda s: bool(s.world.state.tables["ports"]),
    "up": lambda s: bool(s.world.state.tables["vifs"]),
    "vd": lambda s: s.attached_volume() is not None,
    "vr": lambda s: s.attached_volume() is not None,
    "rs": lambda s: bool(s.world.state.tables["secrets"]),
}

_BY_HAND: Final[dict[str, Callable[[MachineScene], bool]]] = {
    "gc": lambda s: bool(s.world.crash_guest(BUILD_ID)),
    "gp": lambda s: bool(s.world.pause_guest(BUILD_ID)),
    "gs": lambda s: bool(s.world.stop_guest(BUILD_ID)),
    "gu": lambda s: bool(s.world.undefine_by_hand(BUILD_ID)),
    "dd": lambda s: bool(s.world.delete_disk_by_hand(s.first_key("disks") or "")),
    "dr": lambda s: bool(s.world.delete_directory_by_hand(s.first_key("directories") or "")),
    "pr": lambda s: bool(s.world.remove_port_by_hand(s.our_port() or "")),
    "up": lambda s: bool(s.world.unplug_by_hand(s.our_port() or "")),
    "vd": lambda s: bool(s.world.delete_volume_by_hand(s.attached_volume() or "")),
    "vr": lambda s: bool(s.world.detach_by_hand(s.attached_volume() or "")),
    "rs": lambda s: bool(s.world.remove_secret_by_hand(s.first_key("secrets") or "")),
}

Found = Json
Effect = Row


def _on_host(found: Found, effect: Effect, table: str) -> Json:
    host = effect["facts"].get("host", "")
    return dict(found["hosts"].get(host, {}).get(table, {}))


def _by_key(table: str) -> Callable[[Found, Effect], bool]:
    return lambda found, effect: any(
        row.get("key") == effect["key"] for row in _on_host(found, effect, table).values()
    )


def _rows_of(found: Found, effect: Effect) -> list[Json]:
    volume = found["volumes"].get(effect["facts"]["volume_id"])
    if volume is None:
        return []
    return [row for row in volume["attachments"].values() if row["instance"] == BUILD_ID]


def _domain(found: Found, effect: Effect) -> Json:
    return dict(_on_host(found, effect, "domains").get(BUILD_ID, {}))


_PRESENT: Final[dict[str, Callable[[Found, Effect], bool]]] = {
    "directory": _by_key("directories"),
    "disk": _by_key("disks"),
    "secret": lambda f, e: e["key"] in _on_host(f, e, "secrets") or _by_key("secrets")(f, e),
    "port": lambda f, e: any(p["key"] == e["key"] for p in f["ports"].values()),
    "binding": lambda f, e: (
        f["ports"].get(e["facts"]["port"]["id"], {}).get("host") == e["facts"]["host"]
    ),
    "vif": lambda f, e: any(
        v["port"] == e["facts"]["vif"]["id"] for v in _on_host(f, e, "vifs").values()
    ),
    # opened by the host, or by the QEMU itself
    "connection": lambda f, e: (
        any(c["volume"] == e["facts"]["volume_id"] for c in _on_host(f, e, "connections").values())
        or (
            bool(_domain(f, e).get("active"))
            and e["facts"]["volume_id"] in _domain(f, e)["volumes"]
        )
    ),
    "volume": lambda f, e: any(v["key"] == e["key"] for v in f["volumes"].values()),
    "reservation": lambda f, e: bool(_rows_of(f, e)),
    "attachment": lambda f, e: any(r["exported"] for r in _rows_of(f, e)),
    "attached": lambda f, e: any(r["status"] == "attached" for r in _rows_of(f, e)),
    "domain": lambda f, e: bool(_domain(f, e).get("persistent")),
    "guest": lambda f, e: bool(_domain(f, e).get("active")),
}

SCENES: Final[dict[str, Callable[[], MachineScene]]] = {
    "build-1n2v": lambda: MachineScene("build-1n2v"),
    "build-host": lambda: MachineScene("build-host", attach="host"),
    "build-small": lambda: MachineScene("build-small", volumes=0),
    "build-tiny": lambda: MachineScene("build-tiny", volumes=0, nics=0),
    "build-bfv": lambda: MachineScene("build-bfv", volumes=1, boot_from_volume=True),
    "build-made": lambda: MachineScene("build-made", volumes=0, created_volume=True),
    "build-legacy": lambda: MachineScene("build-legacy", volumes=1, nics=0, api="legacy"),
    "build-own-port": lambda: MachineScene("build-own-port", volumes=0, own_ports=True),
    "build-hosts": lambda: MachineScene("build-hosts", volumes=1, hosts=("sim1", "sim2")),
    "build-2n": lambda: MachineScene("build-2n", nics=2, volumes=0),
    "delete-1n2v": lambda: MachineScene("delete-1n2v", deleting=True),
    "delete-host": lambda: MachineScene("delete-host", attach="host", deleting=True),
    "delete-own": lambda: MachineScene(
        "delete-own", volumes=0, created_volume=True, own_ports=True, deleting=True
    ),
    "delete-queued": lambda: MachineScene("delete-queued", volumes=0, intention=Intention.DELETE),
    "delete-failed": lambda: MachineScene(
        "delete-failed", volumes=0, intention=Intention.DELETE, prior=Before.FAILED
    ),
    "delete-left": lambda: MachineScene(
        "delete-left", volumes=1, intention=Intention.DELETE, prior=Before.LEFT
    ),
    "cleanup-left": lambda: MachineScene(
        "cleanup-left", volumes=1, intention=Intention.CLEANUP, prior=Before.LEFT
    ),
    "power-tiny": lambda: _power("power-tiny"),
}


def _power(name: str) -> MachineScene:
    from buildflow.faults.power_scene import PowerScene

    return PowerScene(name)


def make_scene(name: str) -> MachineScene:
    """A scene by its name. Raises BadInput, with the names that there are."""
    try:
        return SCENES[name]()
    except KeyError:
        raise BadInput(f"no scene is called {name!r}; there are {', '.join(SCENES)}") from None
