"""gc: the world against the store, both ways; it removes our strays and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from buildflow.api import VmEngine
from buildflow.config import Settings
from buildflow.drivers.protocols import PortRequest
from buildflow.drivers.simulated import SimulatedWorld, drivers_of
from buildflow.engine.reported import record_power
from buildflow.errors import DriverError
from buildflow.states import power

Rig = tuple[VmEngine, SimulatedWorld, str]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A complete machine with two NICs and two volumes."""
    world = SimulatedWorld()
    given = world.add_volume("given")
    settings = Settings(home=tmp_path, boot_grace_s=0.0)
    with VmEngine(settings, drivers_of(world, "h1", "h2")) as engine:
        shown = engine.build(
            name="a", image="cirros", volumes=[{"id": given}, {"size": 1}], networks=[{}, {}]
        ).wait()
        assert shown["status"] == "complete"
        yield engine, world, shown["id"]


def test_world_and_store_agree(rig: Rig) -> None:
    engine, world, build = rig
    before = world.digest()
    audit = engine.gc()
    assert (audit.strays, audit.lost, audit.foreign) == ([], [], [])
    assert world.digest() == before
    engine.delete(build).wait()
    assert engine.gc().to_json() == {
        "strays": [], "lost": [], "foreign": [], "removed": [], "failed": [], "power": [],
        "unknown": [],
    }  # fmt: skip


def test_a_stray_is_listed_then_removed(rig: Rig) -> None:
    engine, world, _ = rig
    other = engine.build(name="b", image="cirros").wait()
    engine.delete("b").wait()
    (port,) = [effect for effect in other["effects"] if effect["kind"] == "port"]
    engine.world.network.create_port(port["key"], other["id"], "b", PortRequest(network=None))
    before = world.digest()
    audit = engine.gc(dry_run=True)
    assert [(s["kind"], s["build"]) for s in audit.strays] == [("port", other["id"])]
    assert world.digest() == before, "a dry run touches nothing"
    audit = engine.gc()
    assert [s["kind"] for s in audit.removed] == ["port"]
    assert engine.gc().strays == []


def test_what_was_taken_away_is_lost(rig: Rig) -> None:
    engine, world, build = rig
    for effect in engine.show(build)["effects"]:
        if effect["step"] == "root disk":
            assert world.delete_disk_by_hand(effect["key"])
    audit = engine.gc()
    assert [(thing["kind"], thing["build"]) for thing in audit.lost] == [("disk", build)]


def test_a_guest_that_is_off_is_not_lost(rig: Rig) -> None:
    engine, world, build = rig
    assert world.destroy_guest(build)
    assert engine.gc().lost == []


def test_what_the_hypervisor_reports_is_noted(rig: Rig) -> None:
    engine, world, build = rig
    world.pause_guest(build)
    entry = {"build": build, "was": "RUNNING", "now": "PAUSED"}
    assert engine.gc(dry_run=True).power == [entry]
    assert engine.show(build)["power_state"] == power.RUNNING, "a dry run writes nothing"
    assert engine.gc().power == [entry]
    assert engine.gc().power == []
    assert engine.show(build)["power_state"] == power.PAUSED
    last = engine.history(build)[-1]
    assert (last["trigger"], last["step"], last["power_state"]) == ("report_paused", None, 3)
    world.crash_guest(build)
    world.undefine_by_hand(build)
    assert engine.gc().power == [{"build": build, "was": "PAUSED", "now": "NOSTATE"}]
    shown = engine.delete(build).wait()
    assert (shown["vm_state"], shown["power_state"]) == ("deleted", power.NOSTATE)
    assert engine.gc().power == []


def test_a_report_never_comes_between_an_owner_and_its_build(rig: Rig) -> None:
    engine, world, build = rig
    row = engine.store.find(build)
    world.pause_guest(build)
    engine.store.claim(build, engine.owner_id(), row["epoch"])
    assert not record_power(engine.store, engine.clock, row, power.PAUSED)
    assert engine.store.find(build)["power_state"] == power.RUNNING
    assert [line["trigger"] for line in engine.history(build)][-1] == "activate+finish_spawning"


def test_what_does_not_answer_is_unknown(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, world, build = rig
    host = engine.show(build)["host"]
    world.pause_guest(build)

    def deaf(uuid: str) -> Any:
        raise DriverError("no answer")

    monkeypatch.setattr(engine.world.on(host), "find_domain", deaf)
    audit = engine.gc()
    assert (audit.power, audit.lost) == ([], [])
    assert [(each["kind"], each["reason"]) for each in audit.unknown] == [("guest", "no answer")]
    assert engine.show(build)["power_state"] == power.RUNNING


def test_what_belongs_to_another_store_is_foreign_and_stays(rig: Rig, tmp_path: Path) -> None:
    _, world, _ = rig
    before = world.digest()
    settings = Settings(home=tmp_path / "another", boot_grace_s=0.0)
    with VmEngine(settings, drivers_of(world, "h1", "h2")) as other:
        audit = other.gc()
    assert audit.foreign
    assert audit.strays == []
    assert world.digest() == before
