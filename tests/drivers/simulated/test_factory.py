"""Which world the settings name, and that the four drivers of an engine share it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from buildflow.config import Settings
from buildflow.drivers import registry
from buildflow.drivers.simulated import SimulatedWorld, factory
from buildflow.engine.clock import VirtualClock
from buildflow.errors import BadInput


def settings(home: Path, connect: str | None = None, **extra: Any) -> Settings:
    return Settings(home=home, connect=connect, compute_driver="simulated", extra=extra)


@pytest.mark.parametrize("connect", [None, "sim:///", "file"])
def test_the_drivers_of_one_engine_share_a_world(tmp_path: Path, connect: str | None) -> None:
    if connect == "file":
        connect = f"sim://{tmp_path}/shared.jsonl"
    chosen = settings(tmp_path, connect)
    drivers: list[Any] = [registry.open_driver(kind, chosen) for kind in registry.KINDS]
    worlds = {id(driver.world) for driver in drivers}
    assert len(worlds) == 1
    assert factory.make_world(chosen) is drivers[0].world


def test_a_world_in_memory_is_its_home_s_and_goes_with_its_drivers(tmp_path: Path) -> None:
    one = factory.compute(settings(tmp_path / "a", "sim:///"))
    other = factory.compute(settings(tmp_path / "b", "sim:///"))
    one.create_directory("key")
    assert other.find_directory("key") is None
    del one
    assert factory.compute(settings(tmp_path / "a", "sim:///")).find_directory("key") is None


def test_without_a_place_it_is_a_file_in_the_home(tmp_path: Path) -> None:
    factory.compute(settings(tmp_path)).create_directory("key")
    world = SimulatedWorld(tmp_path / "world.jsonl")
    assert [operation.name for operation in world.operations()] == ["create_directory"]


def test_a_world_that_is_given_is_taken(tmp_path: Path) -> None:
    world = SimulatedWorld()
    drivers = factory.all_drivers(settings(tmp_path, world=world, hosts=["a", "b"]))
    drivers.on("b").create_directory("key")
    assert list(world.snapshot()["hosts"]) == ["b"]
    assert drivers.hosts == ["a", "b"]
    assert drivers.on("a").hosts() == ("a",)


@pytest.mark.parametrize(
    ("extra", "host"),
    [({}, "sim1"), ({"hosts": ["x", "y"]}, "x"), ({"hosts": ["x", "y"], "host": "y"}, "y")],
)
def test_which_host_a_driver_serves(tmp_path: Path, extra: Mapping[str, Any], host: str) -> None:
    assert factory.compute(settings(tmp_path, "sim:///", **extra)).hosts() == (host,)


@pytest.mark.parametrize("place", ["", "{}/shared.jsonl"])
def test_hosts_may_be_named_with_the_world(tmp_path: Path, place: str) -> None:
    connect = f"sim:///{place.format(tmp_path).lstrip('/')}?hosts=left,right"
    drivers = factory.all_drivers(settings(tmp_path / "home", connect))
    assert drivers.hosts == ["left", "right"]
    drivers.on("right").create_directory("key")
    assert (tmp_path / "shared.jsonl").exists() == bool(place)


def test_options_and_the_clock_come_with_the_settings(tmp_path: Path) -> None:
    clock = VirtualClock()
    options = {"boot_seconds": 9, "capacity": {"sim1": {"memory_mib": 100}}}
    chosen = settings(tmp_path, "sim:///", clock=clock, world_options=options)
    world = factory.make_world(chosen)
    assert world.clock is clock
    assert world.options.boot_seconds == 9
    assert world.options.capacity_of("sim1").memory_mib == 100
    assert world.options.capacity_of("sim2").memory_mib is None


def test_the_engine_that_comes_last_brings_its_clock(tmp_path: Path) -> None:
    first, second = VirtualClock(), VirtualClock()
    compute = factory.compute(settings(tmp_path, "sim:///", clock=first))
    first.sleep(50)
    world = factory.make_world(settings(tmp_path, "sim:///", clock=second))
    assert compute.world is world
    assert world.clock is second
    with world.look():
        assert world.now() == 50


def test_another_scheme_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="qemu:///system"):
        factory.compute(settings(tmp_path, "qemu:///system"))


def test_volume_settings_reach_the_drivers(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        factory.volume(Settings(home=tmp_path, connect="sim:///", volume_api="newest"))
