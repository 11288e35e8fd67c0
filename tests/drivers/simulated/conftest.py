"""A world on a clock that only moves when somebody waits, and every driver over it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from buildflow.drivers.simulated import SimulatedWorld, drivers_of
from buildflow.drivers.world import World
from buildflow.engine.clock import VirtualClock
from tests.drivers.simulated.one_build import OneBuild


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture(params=["memory", "file"])
def world(request: pytest.FixtureRequest, clock: VirtualClock, tmp_path: Path) -> SimulatedWorld:
    path = tmp_path / "world.jsonl" if request.param == "file" else None
    return SimulatedWorld(path, clock=clock)


@pytest.fixture
def drivers(world: SimulatedWorld) -> World:
    return drivers_of(world, "sim1", "sim2")


@pytest.fixture
def new_build(drivers: World) -> Callable[..., OneBuild]:
    """A build of its own, on `sim1` unless said otherwise."""

    def make(*volumes: str, host: str = "sim1", name: str = "") -> OneBuild:
        return OneBuild(drivers, str(uuid.uuid4()), volumes, host=host, name=name)

    return make
