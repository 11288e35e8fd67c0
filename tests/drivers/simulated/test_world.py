"""What an oracle reads of a world: its inventory, its operations in order, what was forbidden."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from buildflow.drivers.simulated import SECRET_MARK, SimulatedWorld, WorldOptions, drivers_of
from buildflow.engine.clock import VirtualClock
from buildflow.errors import BadInput
from tests.drivers.simulated.one_build import OneBuild

Builds = Callable[..., OneBuild]


def test_a_build_and_its_way_back_leave_the_world_as_it_was(
    world: SimulatedWorld, new_build: Builds
) -> None:
    volumes = [world.add_volume("one"), world.add_volume("two")]
    before, digest = world.snapshot(), world.digest()
    build = new_build(*volumes)
    build.make()
    assert world.snapshot() != before
    assert world.digest() != digest
    build.unmake()
    assert world.snapshot() == before
    assert world.digest() == digest
    assert world.violations == []


def test_a_snapshot_is_json_and_nobody_can_change_the_world_through_it(
    world: SimulatedWorld, new_build: Builds
) -> None:
    new_build(world.add_volume()).make()
    first = world.snapshot()
    assert json.loads(json.dumps(first)) == first
    first["hosts"]["sim1"]["domains"].clear()
    next(iter(first["volumes"].values()))["attachments"].clear()
    assert world.snapshot() != first


def test_equal_worlds_have_equal_digests_whenever_they_were_made() -> None:
    digests = set()
    for start in (0.0, 500.0):
        clock = VirtualClock()
        clock.sleep(start)
        world = SimulatedWorld(clock=clock)
        OneBuild(drivers_of(world), "11111111-1111-4111-8111-111111111111").make()
        digests.add(world.digest())
    assert len(digests) == 1


def test_operations_come_in_order_with_their_keys(world: SimulatedWorld, new_build: Builds) -> None:
    build = new_build()
    build.make()
    build.unmake()
    names = [operation.name for operation in world.operations()]
    assert names == [
        "create_port", "bind_port", "create_directory", "create_disk", "plug_vif", "define_domain",
        "start_domain", "destroy_domain", "undefine_domain", "unplug_vif", "delete_disk",
        "unbind_port", "delete_port", "delete_directory",
    ]  # fmt: skip
    first = world.operations()[0]
    assert (first.key, first.id) == (build.key("port:0"), build.ports[0]["id"])


def test_calls_that_change_nothing_are_no_operations(
    world: SimulatedWorld, new_build: Builds
) -> None:
    build = new_build()
    build.make()
    count = len(world.operations())
    build.compute.create_directory(build.key("directory"))
    build.compute.start_domain(build.uuid)
    build.compute.delete_secret("no-such-secret")
    build.compute.find_domain(build.uuid)
    assert len(world.operations()) == count


def test_what_a_test_puts_there_is_no_operation(world: SimulatedWorld) -> None:
    world.add_volume()
    world.add_network("other", "10.9.0.0/24")
    world.configure(boot_seconds=3)
    assert world.operations() == []


def test_a_copy_goes_its_own_way(world: SimulatedWorld, new_build: Builds) -> None:
    volume = world.add_volume()
    build = new_build(volume)
    build.make()
    other = world.copy()
    assert other.digest() == world.digest()
    assert other.operations() == world.operations()
    OneBuild(
        drivers_of(other), build.uuid, [volume], ports=build.ports, infos=build.infos,
        attachments=build.attachments, directory=build.directory,
    ).unmake()  # fmt: skip
    assert other.snapshot()["hosts"] == {}
    assert build.compute.find_domain(build.uuid).active
    assert len(other.operations()) > len(world.operations())


def test_what_a_copy_does_is_not_held_against_the_original(
    world: SimulatedWorld, new_build: Builds
) -> None:
    build = new_build()
    build.make()
    compute = drivers_of(world.copy()).on("sim1")
    compute.destroy_domain(build.uuid)
    compute.create_directory("key")
    build.compute.create_directory("key")
    assert world.violations == []
    build.compute.delete_disk(build.key("disk"), build.directory)
    assert len(world.violations) == 1


def test_a_copy_on_a_fresh_clock_goes_on_from_the_same_moment(
    world: SimulatedWorld, clock: VirtualClock, new_build: Builds
) -> None:
    world.configure(boot_seconds=10)
    clock.sleep(100)
    build = new_build()
    build.make()
    clock.sleep(4)
    fresh = VirtualClock()
    compute = drivers_of(world.copy(fresh)).on("sim1")
    assert b"READY" not in compute.console(build.uuid)[0]
    fresh.sleep(5)
    assert b"READY" not in compute.console(build.uuid)[0]
    fresh.sleep(1)
    assert b"READY" in compute.console(build.uuid)[0]


def test_time_goes_on_with_a_fresh_clock_after_a_crash(tmp_path: Path) -> None:
    clock = VirtualClock()
    clock.sleep(1000)
    path = tmp_path / "world.jsonl"
    world = SimulatedWorld(path, clock=clock, options=WorldOptions(boot_seconds=10))
    build = OneBuild(drivers_of(world), "11111111-1111-4111-8111-111111111111")
    build.make()
    fresh = VirtualClock()
    compute = drivers_of(SimulatedWorld(path, clock=fresh)).on("sim1")
    assert b"READY" not in compute.console(build.uuid)[0]
    fresh.sleep(10)
    assert b"READY" in compute.console(build.uuid)[0]


def test_a_call_takes_as_long_as_the_world_says(
    world: SimulatedWorld, clock: VirtualClock, new_build: Builds
) -> None:
    build = new_build()
    build.make()
    before = clock.monotonic()
    build.compute.find_domain(build.uuid)
    assert clock.monotonic() == before
    world.configure(latency_s=0.5)
    build.compute.find_domain(build.uuid)
    build.drivers.network.port_active(build.ports[0])
    assert clock.monotonic() == before + 1.0


def test_an_unknown_option_or_behaviour_is_refused(world: SimulatedWorld) -> None:
    with pytest.raises(BadInput, match="no option boot_time"):
        world.configure(boot_time=3)
    with pytest.raises(BadInput, match="not 'sleeps'"):
        world.configure(guest="sleeps")


class TestViolations:
    """Each is something that no real service prevents and no engine may do."""

    def test_a_key_made_twice(self, world: SimulatedWorld, new_build: Builds) -> None:
        build = new_build()
        build.compute.create_directory("key")
        build.compute.delete_directory("key")
        assert world.violations == []
        build.compute.create_directory("key")
        assert world.violations == ["directory key was created twice"]

    @pytest.mark.parametrize("kind", ["port", "binding", "volume", "secret", "reservation"])
    def test_every_kind_that_has_a_key(
        self, world: SimulatedWorld, new_build: Builds, kind: str
    ) -> None:
        volume = world.add_volume()
        build = new_build(volume)
        network, service = build.drivers.network, build.drivers.volume
        for _ in range(2):
            if kind == "volume":
                service.create_volume("key", build.uuid, {"size": 1})
                service.delete_volume("key", service.find_volume("key")["id"])  # type: ignore[index]
            elif kind == "secret":
                build.compute.create_secret("key", "user", "word")
                build.compute.delete_secret("key")
            elif kind == "reservation":
                service.reserve("key", volume, build.uuid)
                service.unreserve("key", volume, build.uuid)
            elif kind == "port":
                build.ports.clear()
                build.make_network()
                network.delete_port(build.key("port:0"), build.ports[0])
            else:
                if not build.ports:
                    build.make_network()
                network.bind_port(build.key("bind:0"), build.ports[0], "sim1")
                network.unbind_port(build.key("bind:0"), build.ports[0], "sim1")
        key = build.key("bind:0" if kind == "binding" else "port:0")
        assert f"{kind} {key if kind in ('port', 'binding') else 'key'} was created twice" in (
            world.violations
        )

    def test_what_was_taken_away_by_hand_may_be_made_again(
        self, world: SimulatedWorld, new_build: Builds
    ) -> None:
        build = new_build()
        build.make_network()
        world.remove_port_by_hand(build.key("port:0"))
        build.ports.clear()
        build.make_network()
        assert world.violations == []

    def test_an_export_removed_while_the_host_has_it_open(
        self, world: SimulatedWorld, new_build: Builds
    ) -> None:
        volume = world.add_volume()
        build = new_build(volume)
        build.make_volumes()
        build.drivers.volume.detach(build.attachments[0], volume, build.uuid)
        assert world.violations == [
            f"the export of volume {volume} was removed while sim1 had it open"
        ]

    @pytest.mark.parametrize("attach", ["qemu", "host", "auto"])
    def test_an_export_removed_under_a_live_guest(self, world: SimulatedWorld, attach: str) -> None:
        volume = world.add_volume()
        build = OneBuild(drivers_of(world, volume_attach=attach), "u-1", [volume])
        build.make()
        build.compute.disconnect_volume(build.infos[0])
        build.drivers.volume.terminate_connection(
            build.attachments[0], volume, build.compute.connector()
        )
        assert f"the export of volume {volume} was removed under the live QEMU of u-1" in (
            world.violations
        )
        disconnected = f"volume {volume} was disconnected from sim1 under the live QEMU of u-1"
        assert (disconnected in world.violations) == (attach != "qemu")

    def test_a_volume_open_in_two_guests(self, world: SimulatedWorld, new_build: Builds) -> None:
        volume, shared = world.add_volume(), world.add_volume(multiattach=True)
        for build in (new_build(volume, shared), new_build(volume, shared)):
            build.make()
            world.detach_by_hand(volume)
        assert world.violations == [f"volume {volume} is open in two guests at once"]

    def test_not_for_what_another_host_s_guest_has_open(
        self, world: SimulatedWorld, new_build: Builds
    ) -> None:
        shared = world.add_volume(multiattach=True)
        here, there = new_build(shared), new_build(shared, host="sim2")
        here.make()
        there.make()
        here.unmake()
        assert world.violations == []
        assert there.compute.find_connection(there.infos[0])

    def test_a_disk_deleted_under_a_live_guest(
        self, world: SimulatedWorld, new_build: Builds
    ) -> None:
        build = new_build()
        build.make()
        build.compute.delete_disk(build.key("disk"), build.directory)
        assert len(world.violations) == 1
        assert "was deleted under the live QEMU" in world.violations[0]

    def test_a_directory_deleted_under_a_live_guest_with_its_disk(
        self, world: SimulatedWorld, new_build: Builds
    ) -> None:
        build = new_build()
        build.make()
        build.compute.delete_directory(build.key("directory"))
        assert len(world.violations) == 2
        assert build.compute.find_disk(build.key("disk"), build.directory) is None

    def test_a_network_released_below_a_running_guest(
        self, world: SimulatedWorld, new_build: Builds
    ) -> None:
        build = new_build()
        build.make()
        port = build.ports[0]
        build.compute.unplug_vif(port)
        build.drivers.network.unbind_port(build.key("bind:0"), port, "sim1")
        build.drivers.network.delete_port(build.key("port:0"), port)
        assert [text.split(" was ")[1].split()[0] for text in world.violations] == [
            "unplugged", "unbound", "deleted",
        ]  # fmt: skip

    def test_none_of_it_once_the_guest_is_off(
        self, world: SimulatedWorld, new_build: Builds
    ) -> None:
        build = new_build(world.add_volume())
        build.make()
        world.crash_guest(build.uuid)
        build.unmake()
        assert world.violations == []

    def test_one_instance_running_on_two_hosts(
        self, world: SimulatedWorld, new_build: Builds
    ) -> None:
        first = new_build()
        first.make()
        second = new_build(host="sim2")
        second.uuid, second.name = first.uuid, "again"
        second.key = lambda step: f"second-{step}"  # type: ignore[method-assign]
        second.make()
        assert world.violations == [f"instance {first.uuid} runs on sim1 and on sim2"]

    def test_a_password_in_what_is_kept(self, world: SimulatedWorld, new_build: Builds) -> None:
        volume = world.add_volume()
        build = new_build(volume)
        build.make_volumes()
        connector = build.compute.connector()
        full = build.drivers.volume.connection_secrets(build.attachments[0], volume, connector)
        build.compute.disconnect_volume(build.infos[0])
        build.compute.connect_volume(full, dict)
        xml = build.compute.to_xml(build.spec()).replace(
            "<memory", f"<!-- {full['data']['auth_password']} --><memory"
        )
        build.compute.define_domain(build.uuid, xml)
        assert len(world.violations) == 2
        assert all("password" in text for text in world.violations)

    def test_they_outlive_the_process(self, tmp_path: Path) -> None:
        path = tmp_path / "world.jsonl"
        compute = drivers_of(SimulatedWorld(path)).on("sim1")
        for _ in range(2):
            compute.create_directory("key")
            compute.delete_directory("key")
        assert SimulatedWorld(path).violations == ["directory key was created twice"]
        assert SimulatedWorld(path).copy().violations == ["directory key was created twice"]


def test_a_password_is_nowhere_in_the_world(tmp_path: Path) -> None:
    path = tmp_path / "world.jsonl"
    world = SimulatedWorld(path)
    volume = world.add_volume()
    build = OneBuild(drivers_of(world), "u-1", [volume])
    build.prepare()
    connector = build.compute.connector()
    password = build.drivers.volume.connection_secrets(build.attachments[0], volume, connector)[
        "data"
    ]["auth_password"]
    assert SECRET_MARK in password
    assert SECRET_MARK not in path.read_text()
    assert SECRET_MARK not in json.dumps(world.snapshot())
    assert SECRET_MARK not in repr(build.infos) + repr(build.drivers.inventory())
