"""The contract of all drivers, kept by the simulated ones: in memory and in a file, both protocols.

What stands in this module is the fixtures; the tests are those that the real drivers pass.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from buildflow.drivers.protocols import PortRequest
from buildflow.drivers.simulated import SimulatedWorld, drivers_of
from buildflow.drivers.world import World
from tests.drivers.subjects import (
    ComputeSubject,
    ImageSubject,
    NetworkSubject,
    VolumeSubject,
)
from tests.drivers.test_contract import (  # noqa: F401 - collected here, with the fixtures below
    TestCompute,
    TestImage,
    TestNetwork,
    TestVolume,
    guest,
)

VARIANTS = ("memory, attachments", "memory, legacy", "file, attachments", "file, legacy")


@pytest.fixture(params=VARIANTS)
def drivers(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    where, api = request.param.split(", ")
    world = SimulatedWorld(tmp_path / "world.jsonl" if where == "file" else None)
    world.add_image("unsafe", flaw="it has a backing file")
    return drivers_of(world, volume_api=api)


@pytest.fixture
def network(drivers: World) -> NetworkSubject:
    return NetworkSubject(drivers.network, PortRequest("default"), unbinds=True)


@pytest.fixture
def volume(drivers: World) -> VolumeSubject:
    world = drivers.on("sim1").world  # type: ignore[attr-defined]
    return VolumeSubject(drivers.volume, world.add_volume)


@pytest.fixture
def image(drivers: World) -> ImageSubject:
    return ImageSubject(drivers.image, "cirros", "no-such-image", unsafe="unsafe")


@pytest.fixture
def compute(drivers: World) -> ComputeSubject:
    port = drivers.network.create_port("port", "instance", "vm", PortRequest("user"))
    fetched = drivers.image.fetch("tiny", lambda _seconds: None)
    return ComputeSubject(drivers.on("sim1"), fetched, port, really=False)
