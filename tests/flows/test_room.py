"""Room that another build was faster to take, and a store that is away while room is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from buildflow.api import VmEngine
from buildflow.config import Settings
from buildflow.distributed.capacity import SILENT_S, Capacity, HostRow
from buildflow.distributed.jobs import Jobs
from buildflow.drivers.protocols import Demand
from buildflow.drivers.simulated import SimulatedWorld, drivers_of
from buildflow.drivers.world import World
from buildflow.engine.clock import VirtualClock
from buildflow.engine.core import Handle
from buildflow.engine.store import Row
from buildflow.errors import DriverError, NoRoom, StaleOwner, StoreError
from buildflow.flows.request import parse_request

ALL_OF_IT = Demand(vcpus=2, memory_mib=1024)


class Rivals:
    """Others that take all the room of a host, in the very moment in which the build wants it."""

    def __init__(self, *hosts: str) -> None:
        self.wanted = set(hosts)
        self.capacity: Any = None
        self.builds: dict[str, str] = {}

    def __call__(self, where: str, subject: str, run: Any) -> None:
        if (where, subject) == ("execute", "claim host") and run.host in self.wanted:
            self.wanted.remove(run.host)
            self.capacity.claim(f"rival-{run.host}", self.builds[run.host], run.host, ALL_OF_IT)


@contextmanager
def fleet_of(
    home: Path, world: SimulatedWorld, hosts: tuple[str, ...], points: Any, **settings: Any
) -> Iterator[tuple[VmEngine, Capacity]]:
    """An engine that shares `hosts`, each with room for `ALL_OF_IT`."""
    drivers = drivers_of(world, *hosts)
    clock = VirtualClock()
    with VmEngine(
        Settings(home=home, **settings), drivers, clock=clock, points=points, watch_s=None
    ) as engine:
        drivers.capacity = capacity = Capacity(engine.store, clock)
        for name in hosts:
            capacity.offer(HostRow(name, "sim:///", vcpus=2, memory_mib=1024, disk_gib=9))
        if isinstance(points, Rivals):
            points.capacity = capacity
            for name in hosts:
                request = parse_request(name=f"rival-{name}", image="cirros")
                points.builds[name] = engine.accept_build(request, queue=True)["id"]
        yield engine, capacity


def submitted(engine: VmEngine) -> Handle:
    """A build that conductors know of, taken up here."""
    row = engine.accept_build(parse_request(name="vm", image="cirros", memory_mib=64), queue=True)
    Jobs(engine.store, engine.clock).post(row["id"])
    return engine.start(row)


def row_of(engine: VmEngine, name: str = "vm") -> Row:
    return engine.store.find(name)


def test_room_that_is_gone_on_one_host_is_taken_on_another(tmp_path: Path) -> None:
    world, rivals = SimulatedWorld(clock=VirtualClock()), Rivals("h1")
    with fleet_of(tmp_path, world, ("h1", "h2"), rivals, max_attempts=1) as (engine, _):
        shown = engine.build(name="vm", image="cirros", memory_mib=64).wait()
        assert (shown["status"], shown["host"]) == ("complete", "h2"), "no attempt was used up"
        assert shown["fault"] is None
        assert [line["host"] for line in shown["errors"]] == ["h1"]


def test_where_no_host_has_room_a_build_waits_as_one_that_has_not_begun(tmp_path: Path) -> None:
    world, rivals = SimulatedWorld(clock=VirtualClock()), Rivals("h1", "h2")
    before = world.snapshot()
    with fleet_of(tmp_path, world, ("h1", "h2"), rivals) as (engine, capacity):
        with pytest.raises(NoRoom, match="no host has room"):
            submitted(engine).wait()
        row = row_of(engine)
        assert (row["status"], row["owner"], row["host"]) == ("queued", None, None)
        assert row["fault"] is None, "it has not failed"
        assert world.snapshot() == before
        with pytest.raises(NoRoom):
            engine.resume(["vm"])[0].wait()
        capacity.release("rival-h2")
        shown = engine.resume(["vm"])[0].wait()
        assert (shown["status"], shown["host"]) == ("complete", "h2")
        engine.clock.sleep(SILENT_S + 1)  # or its conductor would be asked
        assert engine.delete("vm").wait()["status"] == "rolled_back"
    assert world.snapshot() == before
    assert world.violations == []


def test_one_that_no_conductor_knows_fails_without_room(tmp_path: Path) -> None:
    """`buildflow build` on a machine whose host conductors share: nobody would go on with it."""
    world, rivals = SimulatedWorld(clock=VirtualClock()), Rivals("h1")
    with fleet_of(tmp_path, world, ("h1",), rivals) as (engine, _):
        shown = engine.build(name="vm", image="cirros", memory_mib=64).wait()
        assert shown["status"] == "rolled_back"
        assert "vcpus" in shown["fault"]["message"]


def test_a_stop_wins_over_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes from another process in the very moment in which the build is given back."""
    world, rivals = SimulatedWorld(clock=VirtualClock()), Rivals("h1")
    with fleet_of(tmp_path, world, ("h1",), rivals) as (engine, _):
        asked = Capacity.is_conducted

        def and_stop(self: Capacity, build: str) -> bool:
            engine.store.request_stop(build, "cancelled")
            return asked(self, build)

        monkeypatch.setattr(Capacity, "is_conducted", and_stop)
        shown = submitted(engine).wait()
        assert (shown["status"], shown["stop"]) == ("rolled_back", "cancelled")


@pytest.mark.parametrize("cut", ["claim", "choice"])
def test_a_standby_gives_back_what_it_finds_without_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    """Its conductor died before its claim of the room, or after that was refused."""
    world, rivals = SimulatedWorld(clock=VirtualClock()), Rivals("h1")
    method = {"claim": "claim", "choice": "is_conducted"}[cut]

    class Died(BaseException):
        pass

    def die(*_: Any) -> Any:
        raise Died

    points = None if cut == "claim" else rivals
    with fleet_of(tmp_path, world, ("h1",), points) as (engine, held):
        with monkeypatch.context() as patched:
            patched.setattr(Capacity, method, die)
            handle = submitted(engine)
            with pytest.raises(Died):
                handle.wait()
        assert row_of(engine)["status"] == "running"
        engine.clock.sleep(SILENT_S + 1)
        drivers = drivers_of(world, "h1")
        standby = World(
            computes={"h1": drivers.on("h1")}, network=drivers.network, volume=drivers.volume,
            image=drivers.image, capacity=held, standby=["h1"],
        )  # fmt: skip
        held.attend("h1", "a standby finishes what is on it")
        settings = Settings(home=tmp_path)
        with (
            VmEngine(
                settings, standby, store=engine.store, clock=engine.clock, watch_s=None
            ) as other,
            pytest.raises(NoRoom),
        ):
            other.carry_out(row_of(engine)["id"], take_over=True)
        row = row_of(engine)
        assert (row["status"], row["host"], row["fault"]) == ("queued", None, None)


@pytest.mark.parametrize("end", ["cancel", "delete", "deadline"])
def test_one_that_waits_for_room_can_be_ended(tmp_path: Path, end: str) -> None:
    world, rivals = SimulatedWorld(clock=VirtualClock()), Rivals("h1")
    with fleet_of(tmp_path, world, ("h1",), rivals, build_timeout_s=60.0) as (engine, _):
        with pytest.raises(NoRoom):
            submitted(engine).wait()
        if end == "delete":
            shown = engine.delete("vm").wait()
        else:
            if end == "cancel":
                assert engine.cancel("vm")
            else:
                engine.clock.sleep(61)
            shown = engine.resume(["vm"])[0].wait()
            assert end in shown["fault"]["message"] or shown["stop"] == "cancelled"
        assert shown["status"] == "rolled_back"
        assert shown["residue"] == []


def test_after_a_real_failure_a_build_without_room_elsewhere_has_failed(tmp_path: Path) -> None:
    world = SimulatedWorld(clock=VirtualClock())
    rivals = Rivals("h2")

    def points(where: str, subject: str, run: Any) -> None:
        rivals(where, subject, run)
        if (where, subject, run.host) == ("made", "start", "h1"):
            raise DriverError("h1 is not well")

    with fleet_of(tmp_path, world, ("h1", "h2"), points) as (engine, capacity):
        rivals.capacity = capacity
        request = parse_request(name="rival-h2", image="cirros")
        rivals.builds["h2"] = engine.accept_build(request, queue=True)["id"]
        shown = engine.build(name="vm", image="cirros", memory_mib=64).wait()
        assert shown["status"] == "rolled_back"
        assert "h1 is not well" in shown["fault"]["message"]
        assert any("no host has room" in line["message"] for line in shown["errors"])


@pytest.mark.parametrize("call", ["shares", "place", "claim", "release"])
def test_a_store_that_is_away_is_not_the_builds_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """It has been waited for already; the build is left as by a crash, and goes on later."""
    world = SimulatedWorld(clock=VirtualClock())
    before = world.snapshot()
    away = [True]
    asked: Callable[..., Any] = getattr(Capacity, call)

    def or_away(self: Capacity, *arguments: Any) -> Any:
        if away and away.pop():
            raise StoreError("the store is away")
        return asked(self, *arguments)

    def points(where: str, subject: str, run: Any) -> None:
        if call == "release" and (where, subject) == ("made", "define"):
            raise DriverError("h1 is not well")

    with fleet_of(tmp_path, world, ("h1",), points) as (engine, _):
        monkeypatch.setattr(Capacity, call, or_away)
        with pytest.raises(StoreError, match="is away"):
            engine.build(name="vm", image="cirros", memory_mib=64).wait()
        assert row_of(engine)["status"] == ("rolling_back" if call == "release" else "running")
        shown = engine.resume(["vm"])[0].wait()
        assert shown["status"] == ("rolled_back" if call == "release" else "complete")
        assert not any("away" in line["message"] for line in shown["errors"])
        if call == "release":
            assert world.snapshot() == before
        assert world.violations == []


def test_a_rollback_is_left_at_once_to_a_new_owner(tmp_path: Path) -> None:
    """Also in the middle of an undo that is tried again: nobody else has the build yet."""
    world = SimulatedWorld(clock=VirtualClock())
    lost: list[bool] = []

    def points(where: str, subject: str, run: Any) -> None:
        if (where, subject) == ("made", "start"):
            raise DriverError("h1 is not well")  # before it is recorded: its state is `intent`
        if (where, subject) == ("undo", "start") and not lost:
            lost.append(True)
            run.note_stop("lost", "the claim on its job")

    with fleet_of(tmp_path, world, ("h1",), points, undo_timeout_s=600.0) as (engine, _):
        begun = engine.clock.monotonic()
        with pytest.raises(StaleOwner):
            engine.build(name="vm", image="cirros", memory_mib=64).wait()
        assert engine.clock.monotonic() - begun < 10
        assert row_of(engine)["status"] == "rolling_back"
        shown = engine.resume(["vm"])[0].wait()
        assert (shown["status"], shown["residue"]) == ("rolled_back", [])
    assert world.violations == []
