"""gc: the world against the store, both ways; it removes our strays and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from buildflow.api import VmEngine
from buildflow.config import Settings
from buildflow.drivers.protocols import PortRequest
from buildflow.drivers.simulated import SimulatedWorld, drivers_of

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
        "strays": [], "lost": [], "foreign": [], "removed": [], "failed": [],
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


def test_what_belongs_to_another_store_is_foreign_and_stays(rig: Rig, tmp_path: Path) -> None:
    _, world, _ = rig
    before = world.digest()
    settings = Settings(home=tmp_path / "another", boot_grace_s=0.0)
    with VmEngine(settings, drivers_of(world, "h1", "h2")) as other:
        audit = other.gc()
    assert audit.foreign
    assert audit.strays == []
    assert world.digest() == before
