"""Cinder's status sequences, its refusals, and who wins a race."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from buildflow.drivers.simulated import SimulatedWorld, drivers_of
from buildflow.drivers.world import World
from buildflow.engine.clock import VirtualClock
from buildflow.errors import (
    BadInput,
    Busy,
    Conflict,
    DriverError,
    HostUnusable,
    NotFound,
    QuotaUsedUp,
    Refused,
    VolumeServiceError,
)

HERE = {"host": "sim1"}


@pytest.fixture
def legacy(world: SimulatedWorld) -> World:
    return drivers_of(world, volume_api="legacy")


def statuses(world: SimulatedWorld, volume: str) -> tuple[str, list[str]]:
    record = world.snapshot()["volumes"][volume]
    return record["status"], [row["status"] for row in record["attachments"].values()]


class TestSequences:
    """What the service says at each moment (cinder/volume/api.py, cinder/api/v3/attachments.py)."""

    def test_by_attachments(self, world: SimulatedWorld, drivers: World) -> None:
        service, volume = drivers.volume, world.add_volume()
        assert statuses(world, volume) == ("available", [])
        attachment = service.reserve("k", volume, "i")
        assert statuses(world, volume) == ("reserved", ["reserved"])
        service.initialize_connection(attachment, volume, HERE, "/dev/vdb")
        assert statuses(world, volume) == ("attaching", ["attaching"])
        service.attach(attachment, volume, "i", "/dev/vdb")
        assert statuses(world, volume) == ("in-use", ["attached"])
        service.detach(attachment, volume, "i")
        assert statuses(world, volume) == ("available", [])

    def test_by_the_documented_calls(self, world: SimulatedWorld, legacy: World) -> None:
        service, volume = legacy.volume, world.add_volume()
        attachment = service.reserve("k", volume, "i")
        assert statuses(world, volume)[0] == "attaching"
        service.initialize_connection(attachment, volume, HERE, "/dev/vdb")
        assert statuses(world, volume)[0] == "attaching"
        service.attach(attachment, volume, "i", "/dev/vdb")
        assert statuses(world, volume)[0] == "in-use"
        service.detach(attachment, volume, "i")
        assert statuses(world, volume)[0] == "detaching"
        assert service.find_attachment(attachment, volume, HERE) is not None
        with pytest.raises(Refused):
            service.unreserve("k", volume, "i")
        service.terminate_connection(attachment, volume, HERE)
        # the real driver ends the detach with the connection: nothing is left to unreserve
        assert statuses(world, volume) == ("available", [])
        service.unreserve("k", volume, "i")
        assert statuses(world, volume) == ("available", [])

    def test_a_volume_is_creating_for_a_while(
        self, world: SimulatedWorld, drivers: World, clock: VirtualClock
    ) -> None:
        world.configure(volume_seconds=6)
        made = drivers.volume.create_volume("k", "i", {"size": 2})
        assert (made["status"], made["size"], made["bootable"]) == ("creating", 2, False)
        clock.sleep(5.9)
        assert drivers.volume.volume_status(made["id"]) == "creating"
        with pytest.raises(Conflict):
            drivers.volume.reserve("r", made["id"], "i")
        clock.sleep(0.1)
        assert drivers.volume.volume_status(made["id"]) == "available"
        drivers.volume.reserve("r", made["id"], "i")
        assert drivers.volume.volume_status(made["id"]) == "reserved"

    def test_from_an_image_it_is_downloading(self, world: SimulatedWorld, drivers: World) -> None:
        world.configure(volume_seconds=6)
        made = drivers.volume.create_volume("k", "i", {"size": 2, "image_id": "cirros"})
        assert (made["status"], made["bootable"]) == ("downloading", True)
        with pytest.raises(NotFound):
            drivers.volume.create_volume("l", "i", {"size": 2, "image_id": "none"})

    def test_it_may_become_an_error(
        self, world: SimulatedWorld, drivers: World, clock: VirtualClock
    ) -> None:
        world.configure(volume_seconds=6, volume_becomes="error")
        made = drivers.volume.create_volume("k", "i", {"size": 2})
        clock.sleep(6)
        assert drivers.volume.volume_status(made["id"]) == "error"
        with pytest.raises(Conflict):
            drivers.volume.validate(made["id"], "i")
        drivers.volume.delete_volume("k", made["id"])
        assert drivers.volume.find_volume("k") is None


class TestDelete:
    def test_one_that_is_being_created_is_awaited(
        self, world: SimulatedWorld, drivers: World, clock: VirtualClock
    ) -> None:
        world.configure(volume_seconds=6)
        made = drivers.volume.create_volume("k", "i", {"size": 1})
        drivers.volume.delete_volume("k", made["id"])
        assert clock.monotonic() == 6
        assert drivers.volume.volume_status(made["id"]) == "deleted"

    def test_but_not_for_ever(
        self, world: SimulatedWorld, drivers: World, clock: VirtualClock
    ) -> None:
        world.configure(volume_seconds=60)
        made = drivers.volume.create_volume("k", "i", {"size": 1})
        with pytest.raises(DriverError):
            drivers.volume.delete_volume("k", made["id"])
        assert clock.monotonic() == 10

    def test_one_that_is_attached_stays(self, world: SimulatedWorld, drivers: World) -> None:
        made = drivers.volume.create_volume("k", "i", {"size": 1})
        attachment = drivers.volume.reserve("r", made["id"], "i")
        with pytest.raises(VolumeServiceError):
            drivers.volume.delete_volume("k", made["id"])
        world.set_volume_status(made["id"], "error")
        with pytest.raises(VolumeServiceError):
            drivers.volume.delete_volume("k", made["id"])
        drivers.volume.detach(attachment, made["id"], "i")
        drivers.volume.delete_volume("k", made["id"])


class TestServiceToken:
    """Cinder lets nobody but a service take a connected volume away from an instance."""

    @pytest.mark.parametrize("code", [409, 500])
    def test_without_one_a_connected_volume_stays(
        self, world: SimulatedWorld, drivers: World, code: int
    ) -> None:
        volume = world.add_volume()
        attachment = drivers.volume.reserve("k", volume, "i")
        drivers.volume.initialize_connection(attachment, volume, HERE, "/dev/vdb")
        world.configure(service_token=False, service_token_code=code)
        undos: tuple[Callable[[], None], ...] = (
            lambda: drivers.volume.detach(attachment, volume, "i"),
            lambda: drivers.volume.terminate_connection(attachment, volume, HERE),
            lambda: drivers.volume.unreserve("k", volume, "i"),
        )
        for undo in undos:
            with pytest.raises(Refused) as caught:
                undo()
            assert caught.value.code == code
        assert statuses(world, volume)[0] == "attaching"
        world.configure(service_token=True)
        undos[0]()
        assert statuses(world, volume)[0] == "available"

    def test_a_reservation_alone_can_be_taken_back(
        self, world: SimulatedWorld, drivers: World
    ) -> None:
        volume = world.add_volume()
        drivers.volume.reserve("k", volume, "i")
        world.configure(service_token=False)
        drivers.volume.unreserve("k", volume, "i")
        assert statuses(world, volume) == ("available", [])

    def test_it_is_said_before_anything_is_attached(
        self, world: SimulatedWorld, drivers: World, legacy: World
    ) -> None:
        volume = world.add_volume()
        world.configure(service_token=False)
        for call in (drivers.volume.check, lambda: drivers.volume.validate(volume, "i")):
            with pytest.raises(HostUnusable):
                call()
        legacy.volume.check()
        assert legacy.volume.validate(volume, "i")["id"] == volume


@pytest.mark.parametrize("api", ["attachments", "legacy"])
class TestBothProtocols:
    def test_a_volume_in_use_is_another_s(self, world: SimulatedWorld, api: str) -> None:
        service, volume = drivers_of(world, volume_api=api).volume, world.add_volume()
        attachment = service.reserve("k", volume, "i")
        for call in (
            lambda: service.reserve("l", volume, "j"),
            lambda: service.validate(volume, "j"),
        ):
            with pytest.raises(Conflict):
                call()
        service.attach(attachment, volume, "i", "/dev/vdb")
        with pytest.raises(Conflict):
            service.reserve("l", volume, "j")
        assert service.validate(volume, "i")["id"] == volume
        assert service.find_reservation("l", volume, "j") is None
        service.unreserve("l", volume, "j")
        assert service.find_reservation("k", volume, "i") == attachment

    def test_a_shared_volume_is_for_several(self, world: SimulatedWorld, api: str) -> None:
        service, volume = (
            drivers_of(world, volume_api=api).volume,
            world.add_volume(multiattach=True),
        )
        rows = {}
        for instance in ("i", "j"):
            service.validate(volume, instance)
            rows[instance] = service.reserve(f"k-{instance}", volume, instance)
            service.initialize_connection(rows[instance], volume, HERE, "/dev/vdb")
            service.attach(rows[instance], volume, instance, "/dev/vdb")
        service.detach(rows["i"], volume, "i")
        service.terminate_connection(rows["i"], volume, HERE)
        service.unreserve("k-i", volume, "i")
        assert statuses(world, volume) == ("in-use", ["attached"])
        assert service.find_attached(rows["j"], volume, "j")

    def test_a_shared_volume_is_busy_while_another_instance_takes_it(
        self, world: SimulatedWorld, api: str
    ) -> None:
        service, volume = (
            drivers_of(world, volume_api=api).volume,
            world.add_volume(multiattach=True),
        )
        row = service.reserve("k-i", volume, "i")
        service.validate(volume, "j")
        with pytest.raises(Busy):
            service.reserve("k-j", volume, "j")
        service.initialize_connection(row, volume, HERE, "/dev/vdb")
        with pytest.raises(Busy):
            service.reserve("k-j", volume, "j")
        service.attach(row, volume, "i", "/dev/vdb")
        service.reserve("k-j", volume, "j")

    def test_a_backend_that_cannot_export(self, world: SimulatedWorld, api: str) -> None:
        service, volume = drivers_of(world, volume_api=api).volume, world.add_volume()
        attachment = service.reserve("k", volume, "i")
        world.configure(export_fails=True)
        with pytest.raises(VolumeServiceError) as caught:
            service.initialize_connection(attachment, volume, HERE, "/dev/vdb")
        assert caught.value.code == 500
        assert service.find_attachment(attachment, volume, HERE) is None
        service.unreserve("k", volume, "i")
        assert statuses(world, volume) == ("available", [])

    def test_it_is_exported_to_one_host_alone(self, world: SimulatedWorld, api: str) -> None:
        service, volume = drivers_of(world, volume_api=api).volume, world.add_volume()
        attachment = service.reserve("k", volume, "i")
        service.initialize_connection(attachment, volume, HERE, "/dev/vdb")
        assert service.find_attachment(attachment, volume, HERE) is not None
        assert service.find_attachment(attachment, volume, {"host": "sim2"}) is None
        with pytest.raises(NotFound):
            service.connection_secrets(attachment, volume, {"host": "sim2"})

    def test_the_password_is_only_in_the_secrets(self, world: SimulatedWorld, api: str) -> None:
        service, volume = drivers_of(world, volume_api=api).volume, world.add_volume()
        attachment = service.reserve("k", volume, "i")
        info = service.initialize_connection(attachment, volume, HERE, "/dev/vdb")
        full = service.connection_secrets(attachment, volume, HERE)
        assert full["data"].pop("auth_password")
        assert full == info
        assert info == {
            "driver_volume_type": "iscsi",
            "serial": volume,
            "data": {**info["data"], "auth_method": "CHAP", "volume_id": volume, "target_lun": 1},
        }

    def test_of_a_volume_deleted_by_hand(self, world: SimulatedWorld, api: str) -> None:
        service, volume = drivers_of(world, volume_api=api).volume, world.add_volume()
        attachment = service.reserve("k", volume, "i")
        world.delete_volume_by_hand(volume)
        with pytest.raises(NotFound):
            service.initialize_connection(attachment, volume, HERE, "/dev/vdb")
        with pytest.raises(NotFound):
            service.attach(attachment, volume, "i", "/dev/vdb")
        service.detach(attachment, volume, "i")
        service.terminate_connection(attachment, volume, HERE)
        service.unreserve("k", volume, "i")
        assert service.volume_status(volume) == "deleted"


def test_the_documented_calls_need_a_reservation(world: SimulatedWorld, legacy: World) -> None:
    volume = world.add_volume()
    attachment = legacy.volume.reserve("k", volume, "i")
    world.detach_by_hand(volume)
    with pytest.raises(Conflict):
        legacy.volume.initialize_connection(attachment, volume, HERE, "/dev/vdb")
    with pytest.raises(Conflict):
        legacy.volume.attach(attachment, volume, "i", "/dev/vdb")


def test_the_same_instance_may_have_a_second_row_as_cinder_allows(
    world: SimulatedWorld, drivers: World
) -> None:
    volume = world.add_volume()
    first = drivers.volume.reserve("k", volume, "i")
    second = drivers.volume.reserve("another-key", volume, "i")
    assert first != second
    drivers.volume.initialize_connection(first, volume, HERE, "/dev/vdb")
    with pytest.raises(Conflict):
        drivers.volume.initialize_connection(second, volume, HERE, "/dev/vdb")
    drivers.volume.unreserve("k", volume, "i")
    assert statuses(world, volume) == ("available", [])


def test_a_volume_put_in_error_by_hand_cannot_be_connected(
    world: SimulatedWorld, drivers: World
) -> None:
    volume = world.add_volume()
    attachment = drivers.volume.reserve("k", volume, "i")
    world.set_volume_status(volume, "error")
    with pytest.raises(Conflict):
        drivers.volume.initialize_connection(attachment, volume, HERE, "/dev/vdb")
    with pytest.raises(Conflict):
        drivers.volume.reserve("l", volume, "j")


def test_a_volume_is_known_by_its_name(world: SimulatedWorld, drivers: World) -> None:
    volume = world.add_volume("data")
    assert drivers.volume.validate("data", "i")["id"] == volume
    world.add_volume("data")
    with pytest.raises(BadInput):
        drivers.volume.validate("data", "i")


def test_a_quota_that_is_used_up(world: SimulatedWorld, drivers: World) -> None:
    world.configure(volume_quota=1)
    drivers.volume.create_volume("a", "i", {"size": 1})
    with pytest.raises(QuotaUsedUp) as caught:
        drivers.volume.create_volume("b", "i", {"size": 1})
    assert caught.value.code == 413


def test_an_unknown_protocol_is_refused(world: SimulatedWorld) -> None:
    with pytest.raises(BadInput):
        drivers_of(world, volume_api="newest")
