"""How a simulated hypervisor refuses: the classes and codes that libvirt gives for the same gap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from buildflow.drivers.protocols import PortRequest
from buildflow.drivers.simulated import SimulatedWorld, drivers_of
from buildflow.drivers.simulated.export import device_path
from buildflow.drivers.world import World
from buildflow.engine.clock import VirtualClock
from buildflow.errors import (
    BadInput,
    Conflict,
    DriverError,
    Exhausted,
    Refused,
)
from buildflow.states import power
from tests.drivers.simulated.one_build import OneBuild, no_pause

Builds = Callable[..., OneBuild]


def code_of_start(build: OneBuild, kind: type[DriverError]) -> int | None:
    with pytest.raises(DriverError) as caught:
        build.compute.start_domain(build.uuid)
    assert type(caught.value) is kind
    assert caught.value.driver == "compute"
    found = build.compute.find_domain(build.uuid)
    assert found is not None, "a failed start leaves the domain defined"
    assert (found.active, found.power_state) == (False, power.SHUTDOWN)
    return caught.value.code


class TestStart:
    def test_without_its_disk(self, new_build: Builds) -> None:
        build = new_build()
        build.prepare()
        build.compute.delete_disk(build.key("disk"), build.directory)
        assert code_of_start(build, Refused) == 38

    def test_without_its_directory(self, new_build: Builds) -> None:
        build = new_build()
        build.prepare()
        build.compute.delete_directory(build.key("directory"))
        assert code_of_start(build, DriverError) == 38

    def test_with_a_disk_that_another_guest_has_open(self, new_build: Builds) -> None:
        first = new_build()
        first.make()
        thief = new_build()
        thief.prepare()
        thief.compute.undefine_domain(thief.uuid)
        spec = replace(
            thief.spec(), root_disk=first.compute.find_disk(first.key("disk"), first.directory)
        )
        thief.compute.define_domain(thief.uuid, thief.compute.to_xml(spec))
        assert code_of_start(thief, Refused) == 1

    def test_without_its_tap(self, new_build: Builds) -> None:
        build = new_build()
        build.prepare()
        build.compute.unplug_vif(build.ports[0])
        assert code_of_start(build, DriverError) == 38

    def test_without_its_bridge(self, world: SimulatedWorld, new_build: Builds) -> None:
        world.add_network("flat", "10.8.0.0/24", vif_type="bridge", bridge="br7")
        build = new_build()
        self.put_on(build, "flat")
        world.remove_bridge("sim1", "br7")
        assert code_of_start(build, DriverError) == 38
        world.restore_bridge("sim1", "br7")
        assert build.compute.start_domain(build.uuid).active

    def test_without_its_network(self, world: SimulatedWorld, new_build: Builds) -> None:
        world.add_network("lab", "10.8.0.0/24", vif_type="network")
        build = new_build()
        self.put_on(build, "lab")
        build.compute.undefine_domain(build.uuid)
        xml = build.compute.to_xml(build.spec()).replace('network="lab"', 'network="gone"')
        build.compute.define_domain(build.uuid, xml)
        assert code_of_start(build, Refused) == 43

    def test_without_its_secret(self, world: SimulatedWorld, new_build: Builds) -> None:
        build = new_build(world.add_volume())
        build.prepare()
        build.compute.delete_secret(build.key("secret:0"))
        assert code_of_start(build, Refused) == 66

    def test_with_a_wrong_password(self, world: SimulatedWorld, new_build: Builds) -> None:
        build = new_build(world.add_volume())
        build.prepare()
        build.compute.delete_secret(build.key("secret:0"))
        build.compute.create_secret(build.key("secret:0"), "user", "wrong")
        assert code_of_start(build, Refused) == 1

    @pytest.mark.parametrize("attach", ["qemu", "auto"])
    def test_with_a_volume_that_is_not_exported(self, world: SimulatedWorld, attach: str) -> None:
        volume = world.add_volume()
        build = OneBuild(drivers_of(world, volume_attach=attach), "u-1", [volume])
        build.prepare()
        world.detach_by_hand(volume)
        assert code_of_start(build, Refused) == 1

    def test_with_a_device_that_the_host_has_not(self, world: SimulatedWorld) -> None:
        volume = world.add_volume()
        build = OneBuild(drivers_of(world, volume_attach="host"), "u-1", [volume])
        build.prepare()
        assert build.infos[0]["data"]["device_path"] == device_path(volume)
        build.compute.disconnect_volume(build.infos[0])
        assert code_of_start(build, Refused) == 38

    def test_on_a_host_without_room(self, world: SimulatedWorld, new_build: Builds) -> None:
        world.set_capacity("sim1", memory_mib=200, vcpus=None)
        first, second, elsewhere = new_build(), new_build(), new_build(host="sim2")
        for build in (first, second, elsewhere):
            build.prepare()
        first.compute.start_domain(first.uuid)
        assert code_of_start(second, Exhausted) == 1
        assert elsewhere.compute.start_domain(elsewhere.uuid).active
        with pytest.raises(Exhausted):
            second.compute.validate(second.spec())
        first.compute.destroy_domain(first.uuid)
        assert second.compute.start_domain(second.uuid).active

    def test_of_what_is_not_there(self, new_build: Builds) -> None:
        with pytest.raises(Refused):
            new_build().compute.start_domain("no-such-domain")

    def put_on(self, build: OneBuild, network: str) -> None:
        service = build.drivers.network
        port = service.create_port(build.key("p"), build.uuid, "vm", PortRequest(network))
        build.ports.append(service.bind_port(build.key("b"), port, build.host))
        build.make_files()
        build.define()


class TestGuests:
    """What a guest does once it runs, on the world's clock."""

    def test_it_boots_after_a_while(
        self, world: SimulatedWorld, clock: VirtualClock, new_build: Builds
    ) -> None:
        world.configure(boot_seconds=5)
        build = new_build(name="web")
        build.make()
        text, offset = build.compute.console(build.uuid)
        assert b"READY" not in text
        assert build.compute.addresses(build.uuid, build.ports, no_pause) == []
        clock.sleep(5)
        more, end = build.compute.console(build.uuid, offset)
        marker = f"BUILDFLOW-GUEST-READY hostname=web uuid={build.uuid}"
        assert more.decode().strip() == marker
        assert end == offset + len(more)
        assert build.compute.console(build.uuid, end) == (b"", end)
        address = build.ports[0]["network"]["subnets"][0]["ips"][0]["address"]
        assert build.compute.addresses(build.uuid, build.ports, no_pause) == [address]

    @pytest.mark.parametrize(
        ("behaviour", "state", "active"),
        [
            ("silent", power.RUNNING, True),
            ("powers_off", power.SHUTDOWN, False),
            ("crashes", power.CRASHED, False),
            ("pauses", power.PAUSED, True),
        ],
    )
    def test_it_does_what_the_world_says(
        self,
        world: SimulatedWorld,
        clock: VirtualClock,
        new_build: Builds,
        behaviour: str,
        state: int,
        active: bool,
    ) -> None:
        world.configure(boot_seconds=5, guests={"odd": behaviour})
        odd, even = new_build(name="odd"), new_build(name="even")
        assert odd.make().power_state == power.RUNNING
        even.make()
        clock.sleep(4.9)
        assert odd.compute.find_domain(odd.uuid).power_state == power.RUNNING
        clock.sleep(0.1)
        found = odd.compute.find_domain(odd.uuid)
        assert (found.power_state, found.active) == (state, active)
        assert b"READY" not in odd.compute.console(odd.uuid)[0]
        assert b"READY" in even.compute.console(even.uuid)[0]
        assert even.compute.find_domain(even.uuid).power_state == power.RUNNING
        odd.unmake()
        even.unmake()
        assert world.violations == []

    def test_it_starts_again_as_if_it_never_had(
        self, world: SimulatedWorld, clock: VirtualClock, new_build: Builds
    ) -> None:
        world.configure(boot_seconds=5)
        build = new_build()
        build.make()
        clock.sleep(9)
        build.compute.destroy_domain(build.uuid)
        assert b"READY" in build.compute.console(build.uuid)[0], "a log outlives its guest"
        build.compute.start_domain(build.uuid)
        assert b"READY" not in build.compute.console(build.uuid)[0]

    def test_one_that_was_stopped_early_never_comes_up(
        self, world: SimulatedWorld, clock: VirtualClock, new_build: Builds
    ) -> None:
        world.configure(boot_seconds=5)
        build = new_build()
        build.make()
        clock.sleep(1)
        world.stop_guest(build.uuid)
        clock.sleep(60)
        assert b"READY" not in build.compute.console(build.uuid)[0]
        assert build.compute.addresses(build.uuid, build.ports, no_pause) == []

    def test_nobody_knows_the_address_of_user_mode(self, drivers: World) -> None:
        port = drivers.network.create_port("k", "i", "h", PortRequest("user"))
        with pytest.raises(BadInput):
            drivers.on("sim1").addresses("u", [port], no_pause)


class TestDefine:
    def test_a_name_of_another_is_a_conflict(self, new_build: Builds) -> None:
        first, second = new_build(name="web"), new_build(name="web")
        first.prepare()
        second.make_files()
        with pytest.raises(Conflict):
            second.compute.validate(second.spec())
        with pytest.raises(Conflict):
            second.define()
        elsewhere = new_build(name="web", host="sim2")
        elsewhere.prepare()

    def test_a_domain_that_is_not_ours_is_left_alone(
        self, world: SimulatedWorld, new_build: Builds
    ) -> None:
        foreign = world.define_by_hand("sim1", "theirs", running=True)
        build = new_build()
        build.uuid = foreign
        build.make_files()
        with pytest.raises(Conflict):
            build.define()
        assert build.compute.find_domain(foreign).build is None

    @pytest.mark.parametrize(
        ("xml", "code"), [("no xml", 35), ("<domain><name>a</name></domain>", 27)]
    )
    def test_bad_xml_is_refused(self, drivers: World, xml: str, code: int) -> None:
        with pytest.raises(Refused) as caught:
            drivers.on("sim1").define_domain("u", xml)
        assert caught.value.code == code

    def test_the_name_is_free_again_after_undefine(self, new_build: Builds) -> None:
        first, second = new_build(name="web"), new_build(name="web")
        first.prepare()
        first.compute.undefine_domain(first.uuid)
        second.prepare()

    def test_a_domain_defined_anew_by_another_name_keeps_only_that(self, new_build: Builds) -> None:
        first, second = new_build(name="web"), new_build(name="web")
        first.prepare()
        first.compute.undefine_domain(first.uuid)
        first.name = "db"
        first.compute.define_domain(first.uuid, first.compute.to_xml(first.spec()))
        second.prepare()

    @pytest.mark.parametrize("name", ["", "a/b", "a..b", "-a", "x" * 64])
    def test_a_bad_name_is_refused(self, new_build: Builds, name: str) -> None:
        build = new_build()
        build.name = name or " "
        with pytest.raises(BadInput):
            build.compute.validate(build.spec())


class TestFullDisk:
    def test_nothing_new_can_be_made_there(self, world: SimulatedWorld, new_build: Builds) -> None:
        build, late = new_build(), new_build(host="sim2")
        build.make_network()
        build.make_files()
        world.fill_disk("sim1")
        with pytest.raises(Exhausted) as caught:
            build.compute.create_directory("another")
        assert caught.value.code == 28
        image = build.drivers.image.fetch("tiny", no_pause)
        with pytest.raises(Exhausted):
            build.compute.create_disk("another", build.directory, image, None)
        with pytest.raises(Exhausted):
            build.define()
        late.make()
        world.free_disk("sim1")
        build.define()

    def test_what_is_there_is_found_and_removed(
        self, world: SimulatedWorld, new_build: Builds
    ) -> None:
        build = new_build()
        build.make()
        world.fill_disk("sim1")
        assert build.compute.create_directory(build.key("directory")) == build.directory
        build.unmake()
        assert world.snapshot()["hosts"] == {}


def test_a_host_knows_only_its_own(new_build: Builds, drivers: World) -> None:
    build = new_build()
    build.make()
    other = drivers.on("sim2")
    assert other.find_domain(build.uuid) is None
    assert other.find_directory(build.key("directory")) is None
    assert list(other.inventory()) == []
    assert not other.find_vif(build.ports[0])


def test_a_disk_needs_its_directory(drivers: World) -> None:
    image = drivers.image.fetch("tiny", no_pause)
    with pytest.raises(DriverError):
        drivers.on("sim1").create_disk("k", "/sim/sim1/instances/none", image, None)


def test_kvm_only_where_a_boot_probe_has_passed(world: SimulatedWorld, drivers: World) -> None:
    compute = drivers.on("sim1")
    assert compute.virt_type(None) == "qemu"
    with pytest.raises(BadInput):
        compute.virt_type("kvm")
    world.configure(kvm=True)
    assert compute.virt_type(None) == "kvm"
    assert compute.virt_type("qemu") == "qemu"


def test_a_volume_of_another_service_is_left_to_qemu(drivers: World) -> None:
    info = {
        "driver_volume_type": "iscsi",
        "serial": "v",
        "data": {"target_portal": "10.0.0.1:3260", "volume_id": "v"},
    }
    compute = drivers.on("sim1")
    assert compute.connect_volume(info, dict) == {}
    assert not compute.find_connection(info)


def test_a_device_needs_the_right_password(world: SimulatedWorld) -> None:
    build = OneBuild(drivers_of(world, volume_attach="host"), "u-1", [world.add_volume()])
    build.make_volumes()
    build.compute.disconnect_volume(build.infos[0])
    with pytest.raises(Refused):
        build.compute.connect_volume(build.infos[0], lambda: {"data": {"auth_password": "wrong"}})


def test_a_volume_that_is_not_exported_here_cannot_be_opened(
    world: SimulatedWorld, new_build: Builds, drivers: World
) -> None:
    build = new_build(world.add_volume())
    build.make_volumes()
    with pytest.raises(Refused):
        drivers.on("sim2").connect_volume(build.infos[0], dict)
