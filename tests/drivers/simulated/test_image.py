"""Images of a simulated cloud."""

from __future__ import annotations

import pytest

from buildflow.drivers.simulated import SimulatedWorld
from buildflow.drivers.world import World
from buildflow.errors import BadInput, DriverError
from tests.drivers.simulated.one_build import no_pause


def test_by_name_and_by_id(world: SimulatedWorld, drivers: World) -> None:
    image = world.add_image("web", format="raw", virtual_size=7 << 30)
    assert drivers.image.validate("web") == drivers.image.validate(image)
    fetched = drivers.image.fetch(image, no_pause)
    assert (fetched.format, fetched.virtual_size, fetched.id) == ("raw", 7 << 30, image)


def test_one_that_is_unsafe_is_refused_with_the_reason(
    world: SimulatedWorld, drivers: World
) -> None:
    world.add_image("bad", flaw="it has a backing file")
    with pytest.raises(BadInput, match="backing file"):
        drivers.image.validate("bad")


def test_a_download_that_breaks(world: SimulatedWorld, drivers: World) -> None:
    world.add_image("far", breaks=True)
    drivers.image.validate("far")
    with pytest.raises(DriverError) as caught:
        drivers.image.fetch("far", no_pause)
    assert caught.value.driver == "image"
