"""The hypervisor of a process that only looks after what is on conductors' hosts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from buildflow.api import VmEngine
from buildflow.config import Settings
from buildflow.distributed.capacity import Capacity, HostRow
from buildflow.drivers.protocols import ComputeDriver
from buildflow.drivers.simulated import SimulatedWorld, drivers_of
from buildflow.drivers.world import LazyHosts, World
from buildflow.errors import HostUnusable


def unusable() -> ComputeDriver:
    raise HostUnusable("another process has it")


def world_of(_settings: Settings) -> World:
    drivers = drivers_of(SimulatedWorld(), "own")
    return World(LazyHosts({"own": unusable}), drivers.network, drivers.volume, drivers.image)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[VmEngine]:
    with VmEngine(Settings(home=tmp_path), open_world=world_of, watch_s=None) as engine:
        yield engine


def test_it_is_opened_first_where_no_host_is_shared(engine: VmEngine) -> None:
    with pytest.raises(HostUnusable, match="another process has it"):
        _ = engine.world
    with pytest.raises(HostUnusable, match="another process has it"):
        engine.build(name="vm", image="cirros")
    assert engine.list() == [], "nothing is done"


def test_it_is_opened_when_it_is_needed_where_conductors_share_theirs(
    engine: VmEngine, tmp_path: Path
) -> None:
    shared = HostRow("h1", f"sim://{tmp_path}/world.jsonl", vcpus=1, memory_mib=1024, disk_gib=1)
    Capacity(engine.store, engine.clock).offer(shared)
    assert list(engine.world.computes) == ["own", "h1"]
    assert engine.world.on("h1").find_domain("none") is None
    assert not engine.world.is_open("own")
    with pytest.raises(HostUnusable, match="another process has it"):
        engine.build(name="vm", image="cirros")
    assert engine.list() == [], "nothing is done"
