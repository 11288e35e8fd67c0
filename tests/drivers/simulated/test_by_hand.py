"""A world that somebody changes behind our back, and what our drivers then see."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from buildflow.drivers.simulated import SimulatedWorld
from buildflow.drivers.simulated.by_hand import ByHand
from buildflow.errors import Refused
from buildflow.states import power
from tests.drivers.simulated.one_build import OneBuild

Builds = Callable[..., OneBuild]


@pytest.mark.parametrize(
    ("verb", "state", "active"),
    [
        ("destroy_guest", power.SHUTDOWN, False),
        ("stop_guest", power.SHUTDOWN, False),
        ("crash_guest", power.CRASHED, False),
        ("pause_guest", power.PAUSED, True),
    ],
)
def test_a_guest_ends_or_is_held(
    world: SimulatedWorld, new_build: Builds, verb: str, state: int, active: bool
) -> None:
    build = new_build()
    build.make()
    change = getattr(world, verb)
    assert change(build.uuid)
    found = build.compute.find_domain(build.uuid)
    assert (found.power_state, found.active) == (state, active)
    assert not getattr(world, verb)("no-such-guest")
    build.unmake()
    assert world.snapshot()["hosts"] == {}


def test_a_running_domain_undefined_by_hand_lives_on_until_it_is_destroyed(
    world: SimulatedWorld, new_build: Builds
) -> None:
    build = new_build()
    build.make()
    assert world.undefine_by_hand(build.uuid)
    found = build.compute.find_domain(build.uuid)
    assert (found.active, found.persistent) == (True, False)
    with pytest.raises(Refused):
        build.compute.undefine_domain(build.uuid)
    build.compute.destroy_domain(build.uuid)
    assert build.compute.find_domain(build.uuid) is None


def test_one_that_is_off_is_gone_at_once(world: SimulatedWorld, new_build: Builds) -> None:
    build = new_build()
    build.prepare()
    assert world.undefine_by_hand(build.uuid)
    assert build.compute.find_domain(build.uuid) is None
    assert not world.undefine_by_hand(build.uuid)


def test_one_that_was_undefined_is_gone_when_its_guest_ends_by_itself(
    world: SimulatedWorld, new_build: Builds
) -> None:
    world.configure(guest="crashes", boot_seconds=1)
    build = new_build()
    build.make()
    world.undefine_by_hand(build.uuid)
    assert build.compute.find_domain(build.uuid).active
    world.clock.sleep(1)
    assert build.compute.find_domain(build.uuid) is None
    assert world.snapshot()["hosts"]["sim1"].get("domains", {}) == {}
    assert {thing.kind for thing in build.compute.inventory()} == {"directory", "disk", "vif"}
    build.define()
    assert build.compute.start_domain(build.uuid).active


def test_files_secrets_and_taps_go(world: SimulatedWorld, new_build: Builds) -> None:
    build = new_build(world.add_volume())
    build.prepare()
    assert world.delete_disk_by_hand(build.key("disk"))
    assert build.compute.find_disk(build.key("disk"), build.directory) is None
    assert world.remove_secret_by_hand(build.key("secret:0"))
    assert not build.compute.find_secret(build.key("secret:0"))
    assert world.unplug_by_hand(build.ports[0]["id"])
    assert not build.compute.find_vif(build.ports[0])
    image = build.drivers.image.fetch("tiny", lambda _seconds: None)
    build.compute.create_disk(build.key("disk"), build.directory, image, None)
    assert world.delete_directory_by_hand(build.key("directory"))
    assert build.compute.find_directory(build.key("directory")) is None
    assert build.compute.find_disk(build.key("disk"), build.directory) is None
    assert not world.delete_disk_by_hand(build.key("disk"))
    build.make_files()
    assert world.violations == []


def test_ports_and_volumes_go(world: SimulatedWorld, new_build: Builds) -> None:
    volume = world.add_volume()
    build = new_build(volume)
    build.make()
    assert world.remove_port_by_hand(build.key("port:0"))
    assert build.drivers.network.find_binding(build.key("bind:0"), build.ports[0], "sim1") is None
    assert world.detach_by_hand(volume)
    assert build.drivers.volume.volume_status(volume) == "available"
    assert world.delete_volume_by_hand(volume)
    assert build.drivers.volume.volume_status(volume) == "deleted"
    assert not world.delete_volume_by_hand(volume)
    assert not world.remove_port_by_hand(build.key("port:0"))
    build.unmake()
    assert world.snapshot() == {"hosts": {}, "ports": {}, "volumes": {}}


def test_it_is_in_the_log_as_what_it_is(world: SimulatedWorld, new_build: Builds) -> None:
    build = new_build()
    build.make()
    world.crash_guest(build.uuid)
    last = world.operations()[-1]
    assert (last.name, last.id) == ("by_hand.crash", build.uuid)


def test_every_change_by_hand_is_a_world_s(world: SimulatedWorld) -> None:
    assert isinstance(world, ByHand)
