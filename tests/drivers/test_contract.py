"""The rules of buildflow/drivers/protocols.py, run against every driver in `subjects`."""

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from buildflow.drivers.protocols import (
    ComputeDriver,
    Domain,
    Driver,
    GuestSpec,
    ImageDriver,
    NetworkDriver,
    VolumeDriver,
)
from buildflow.errors import BadInput, BuildflowError, Conflict, NotFound, Refused
from buildflow.states import power
from tests.drivers import subjects
from tests.drivers.subjects import (
    ComputeSubject,
    ImageSubject,
    NetworkSubject,
    VolumeSubject,
    params,
)

PORT_KEYS = {
    "id", "address", "type", "network", "details", "devname", "active", "preexisting",
}  # fmt: skip
SECRET = "correct horse battery staple"


def new_key() -> str:
    return str(uuid.uuid4())


def same_after_json(value: Any) -> bool:
    return bool(json.loads(json.dumps(value)) == value)


def pause(seconds: float) -> None:
    time.sleep(min(seconds, 0.25))


def kinds(driver: Driver, key: str) -> set[str]:
    return {thing.kind for thing in driver.inventory() if thing.key == key}


def all_at_once(count: int, do: Callable[[int], Any]) -> list[Any]:
    """Results, or what was raised, of `do` called by `count` threads at the same moment."""
    barrier = threading.Barrier(count)

    def one(number: int) -> Any:
        barrier.wait()
        try:
            return do(number)
        except BuildflowError as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


# --- networks -------------------------------------------------------------------------------------


@pytest.fixture(params=params(subjects.NETWORKS))
def network(request: pytest.FixtureRequest) -> Iterator[NetworkSubject]:
    with request.param.opened(request) as subject:
        yield subject


class TestNetwork:
    def test_it_is_a_network_driver_that_can_be_used(self, network: NetworkSubject) -> None:
        assert isinstance(network.driver, NetworkDriver)
        assert network.driver.name
        network.driver.check()
        network.driver.validate(network.request)

    def test_an_unknown_network_is_refused_before_anything_is_made(
        self, network: NetworkSubject
    ) -> None:
        with pytest.raises(NotFound):
            network.driver.validate(network.unknown)

    def test_a_port_is_found_by_its_key_from_its_creation_to_its_deletion(
        self, network: NetworkSubject
    ) -> None:
        driver, key = network.driver, new_key()
        assert driver.find_port(key, network.request) is None
        port = driver.create_port(key, new_key(), "web", network.request)
        try:
            assert set(port) >= PORT_KEYS
            assert same_after_json(port)
            assert port["preexisting"] is False
            assert key in {thing.key for thing in driver.inventory() if thing.kind == "port"}
            found = driver.find_port(key, network.request)
            assert found is not None
            assert (found["id"], found["address"]) == (port["id"], port["address"])
            assert found["network"] == port["network"]
        finally:
            driver.delete_port(key, port)
        assert driver.find_port(key, network.request) is None
        assert kinds(driver, key) == set()

    def test_a_creation_whose_answer_was_lost_returns_what_is_there(
        self, network: NetworkSubject
    ) -> None:
        driver, key, instance = network.driver, new_key(), new_key()
        first = driver.create_port(key, instance, "web", network.request)
        try:
            again = driver.create_port(key, instance, "web", network.request)
            assert (again["id"], again["address"]) == (first["id"], first["address"])
            ports = [t for t in driver.inventory() if t.key == key and t.kind == "port"]
            assert len(ports) == 1
        finally:
            driver.delete_port(key, first)

    def test_deleting_what_is_not_there_is_success(self, network: NetworkSubject) -> None:
        driver, key = network.driver, new_key()
        port = driver.create_port(key, new_key(), "web", network.request)
        driver.delete_port(key, port)
        driver.delete_port(key, port)

    def test_ports_made_at_once_have_macs_and_addresses_of_their_own(
        self, network: NetworkSubject
    ) -> None:
        driver, keys = network.driver, [new_key() for _ in range(4)]
        ports = all_at_once(
            4, lambda n: driver.create_port(keys[n], new_key(), f"web{n}", network.request)
        )
        try:
            assert not [p for p in ports if isinstance(p, BuildflowError)]
            assert len({port["address"] for port in ports}) == 4
            fixed = [
                ip["address"]
                for port in ports
                if port["type"] != "user"  # where every guest has a network to itself
                for subnet in port["network"]["subnets"]
                for ip in subnet["ips"]
            ]
            assert len(set(fixed)) == len(fixed)
        finally:
            for key, port in zip(keys, ports, strict=True):
                if not isinstance(port, BuildflowError):
                    driver.delete_port(key, port)

    def test_a_port_is_bound_found_bound_and_unbound(self, network: NetworkSubject) -> None:
        driver, key = network.driver, new_key()
        port = driver.create_port(key, new_key(), "web", network.request)
        try:
            bound = driver.bind_port(key, port, network.host)
            assert same_after_json(bound)
            assert bound["address"] == port["address"]
            assert driver.find_binding(key, port, network.host) is not None
            assert isinstance(driver.port_active(bound), bool)
            driver.unbind_port(key, bound, network.host)
            driver.unbind_port(key, bound, network.host)
            if network.unbinds:
                assert driver.find_binding(key, port, network.host) is None
        finally:
            driver.delete_port(key, port)


# --- volumes --------------------------------------------------------------------------------------


@pytest.fixture(params=params(subjects.VOLUMES))
def volume(request: pytest.FixtureRequest) -> Iterator[VolumeSubject]:
    with request.param.opened(request) as subject:
        yield subject


class TestVolume:
    def test_it_is_a_volume_driver_that_can_be_used(self, volume: VolumeSubject) -> None:
        assert isinstance(volume.driver, VolumeDriver)
        volume.driver.check()

    def test_a_missing_volume_is_not_found_and_is_deleted(self, volume: VolumeSubject) -> None:
        driver = volume.driver
        with pytest.raises(NotFound):
            driver.validate(volume.missing, new_key())
        assert driver.volume_status(volume.missing) == "deleted"
        assert driver.find_volume(new_key()) is None

    def test_an_available_volume_is_described(self, volume: VolumeSubject) -> None:
        volume_id = volume.new_volume()
        described = volume.driver.validate(volume_id, new_key())
        assert described["id"] == volume_id
        assert set(described) >= {"id", "name", "size", "status", "bootable", "multiattach"}
        assert same_after_json(described)
        assert volume.driver.volume_status(volume_id) == "available"

    def test_the_whole_protocol_there_and_back(self, volume: VolumeSubject) -> None:
        driver, volume_id = volume.driver, volume.new_volume()
        key, instance = new_key(), new_key()
        assert driver.find_reservation(key, volume_id, instance) is None
        attachment = driver.reserve(key, volume_id, instance)
        assert driver.find_reservation(key, volume_id, instance) == attachment
        assert driver.volume_status(volume_id) != "available"

        assert driver.find_attachment(attachment, volume_id, volume.connector) is None
        info = driver.initialize_connection(attachment, volume_id, volume.connector, "/dev/vda")
        assert set(info) >= {"driver_volume_type", "serial", "data"}
        assert same_after_json(info)
        assert "password" not in json.dumps(info)
        assert driver.find_attachment(attachment, volume_id, volume.connector) is not None
        full = driver.connection_secrets(attachment, volume_id, volume.connector)
        assert full["driver_volume_type"] == info["driver_volume_type"]

        assert not driver.find_attached(attachment, volume_id, instance)
        driver.attach(attachment, volume_id, instance, "/dev/vda")
        assert driver.find_attached(attachment, volume_id, instance)
        assert driver.volume_status(volume_id) == "in-use"

        for _ in range(2):  # the second time there is nothing to undo, which is success
            driver.detach(attachment, volume_id, instance)
            assert not driver.find_attached(attachment, volume_id, instance)
            driver.terminate_connection(attachment, volume_id, volume.connector)
            assert driver.find_attachment(attachment, volume_id, volume.connector) is None
            driver.unreserve(key, volume_id, instance)
            assert driver.find_reservation(key, volume_id, instance) is None
        assert driver.volume_status(volume_id) == "available"

    def test_a_reservation_whose_answer_was_lost_is_the_same(self, volume: VolumeSubject) -> None:
        driver, volume_id = volume.driver, volume.new_volume()
        key, instance = new_key(), new_key()
        first = driver.reserve(key, volume_id, instance)
        assert driver.reserve(key, volume_id, instance) == first
        driver.unreserve(key, volume_id, instance)
        assert driver.volume_status(volume_id) == "available"

    def test_of_builds_that_race_for_a_volume_exactly_one_wins(self, volume: VolumeSubject) -> None:
        driver, volume_id = volume.driver, volume.new_volume()
        keys, instances = [new_key() for _ in range(4)], [new_key() for _ in range(4)]
        results = all_at_once(4, lambda n: driver.reserve(keys[n], volume_id, instances[n]))
        winners = [n for n, result in enumerate(results) if not isinstance(result, BuildflowError)]
        assert len(winners) == 1, results
        losers = [result for result in results if isinstance(result, BuildflowError)]
        assert all(isinstance(error, Conflict | Refused) for error in losers), losers
        with pytest.raises(Conflict):
            driver.validate(volume_id, new_key())
        driver.unreserve(keys[winners[0]], volume_id, instances[winners[0]])
        assert driver.volume_status(volume_id) == "available"

    def test_a_volume_is_made_found_by_its_key_and_deleted(self, volume: VolumeSubject) -> None:
        driver, key, instance = volume.driver, new_key(), new_key()
        assert driver.find_volume(key) is None
        made = driver.create_volume(key, instance, {"size": 1})
        assert same_after_json(made)
        deadline = time.monotonic() + 60
        while (status := driver.volume_status(made["id"])) != "available":
            assert status in ("creating", "downloading")
            assert time.monotonic() < deadline
            time.sleep(0.1)
        found = driver.find_volume(key)
        assert found is not None
        assert found["id"] == made["id"]
        assert driver.create_volume(key, instance, {"size": 1})["id"] == made["id"]
        assert "volume" in kinds(driver, key)
        driver.delete_volume(key, made["id"])
        driver.delete_volume(key, made["id"])
        assert driver.volume_status(made["id"]) == "deleted"
        assert driver.find_volume(key) is None


# --- images ---------------------------------------------------------------------------------------


@pytest.fixture(params=params(subjects.IMAGES))
def image(request: pytest.FixtureRequest) -> Iterator[ImageSubject]:
    with request.param.opened(request) as subject:
        yield subject


class TestImage:
    def test_an_image_is_described_and_fetched_as_an_inspected_file(
        self, image: ImageSubject
    ) -> None:
        assert isinstance(image.driver, ImageDriver)
        described = image.driver.validate(image.image)
        assert set(described) >= {"id", "name", "size"}
        assert same_after_json(described)
        fetched = image.driver.fetch(image.image, pause)
        assert fetched.format in ("raw", "qcow2")
        assert fetched.virtual_size > 0
        assert same_after_json(fetched.to_json())
        assert image.driver.fetch(image.image, pause) == fetched

    def test_a_missing_image_is_not_found(self, image: ImageSubject) -> None:
        with pytest.raises(NotFound):
            image.driver.validate(image.missing)

    def test_an_unsafe_image_is_refused_by_both(self, image: ImageSubject) -> None:
        if image.unsafe is None:
            pytest.skip("this subject has no unsafe image")
        with pytest.raises(BadInput):
            image.driver.validate(image.unsafe)
        with pytest.raises(BadInput):
            image.driver.fetch(image.unsafe, pause)


# --- compute --------------------------------------------------------------------------------------


@pytest.fixture(params=params(subjects.COMPUTES))
def compute(request: pytest.FixtureRequest) -> Iterator[ComputeSubject]:
    with request.param.opened(request) as subject:
        yield subject


class Guest:
    """One guest of a subject, made step by step and removed whatever was made of it."""

    def __init__(self, subject: ComputeSubject, name: str | None = None) -> None:
        self.subject, self.driver = subject, subject.driver
        self.uuid = new_key()
        self.name = name or f"contract-{self.uuid[:8]}"
        self.directory = self.driver.create_directory(self.uuid)
        self.disk = self.driver.create_disk(self.uuid, self.directory, subject.image, None)

    @property
    def spec(self) -> GuestSpec:
        return GuestSpec(
            uuid=self.uuid,
            name=self.name,
            memory_mib=self.subject.memory_mib,
            vcpus=1,
            virt_type=self.subject.virt_type,
            directory=self.directory,
            root_disk=self.disk,
            root_disk_format="qcow2",
            network_info=[self.subject.port],
            block_device_info={
                "root_device_name": "/dev/vda",
                "block_device_mapping": [],
                "ephemerals": [],
                "swap": None,
            },
            metadata={"build": self.uuid},
        )

    def define(self) -> Domain:
        return self.driver.define_domain(self.uuid, self.driver.to_xml(self.spec))

    def remove(self) -> None:
        self.driver.destroy_domain(self.uuid)
        self.driver.undefine_domain(self.uuid)
        self.driver.delete_disk(self.uuid, self.directory)
        self.driver.delete_directory(self.uuid)


@pytest.fixture
def guest(compute: ComputeSubject) -> Iterator[Guest]:
    guest = Guest(compute)
    yield guest
    guest.remove()


class TestCompute:
    def test_it_is_a_compute_driver_that_can_be_used(self, compute: ComputeSubject) -> None:
        assert isinstance(compute.driver, ComputeDriver)
        compute.driver.check()
        assert len(set(compute.driver.hosts())) == len(compute.driver.hosts()) >= 1
        assert compute.driver.connector()["host"]
        assert same_after_json(compute.driver.connector())

    def test_a_directory_and_a_disk_there_and_back(self, compute: ComputeSubject) -> None:
        driver, key = compute.driver, new_key()
        assert driver.find_directory(key) is None
        directory = driver.create_directory(key)
        assert driver.create_directory(key) == directory
        assert driver.find_directory(key) == directory
        assert driver.find_disk(key, directory) is None
        disk = driver.create_disk(key, directory, compute.image, None)
        assert driver.create_disk(key, directory, compute.image, None) == disk
        assert driver.find_disk(key, directory) == disk
        assert kinds(driver, key) >= {"directory", "disk"}
        for _ in range(2):
            driver.delete_disk(key, directory)
            assert driver.find_disk(key, directory) is None
        for _ in range(2):
            driver.delete_directory(key)
            assert driver.find_directory(key) is None
        assert kinds(driver, key) == set()

    def test_a_secret_there_and_back(self, compute: ComputeSubject) -> None:
        if not compute.secrets:
            pytest.skip("this hypervisor keeps no secrets")
        driver, key = compute.driver, new_key()
        assert not driver.find_secret(key)
        driver.create_secret(key, "user", SECRET)
        assert driver.find_secret(key)
        assert "secret" in kinds(driver, key)
        assert SECRET not in str(list(driver.inventory()))
        for _ in range(2):
            driver.delete_secret(key)
            assert not driver.find_secret(key)

    def test_the_xml_is_a_function_of_the_spec(self, guest: Guest) -> None:
        xml = guest.driver.to_xml(guest.spec)
        assert xml == guest.driver.to_xml(guest.spec)
        assert guest.uuid in xml
        assert guest.driver.find_domain(guest.uuid) is None

    def test_a_domain_defined_is_found_with_its_build_and_undefined(self, guest: Guest) -> None:
        driver = guest.driver
        assert driver.find_domain(guest.uuid) is None
        defined = guest.define()
        assert (defined.uuid, defined.name, defined.build) == (guest.uuid, guest.name, guest.uuid)
        assert not defined.active
        assert defined.power_state == power.SHUTDOWN
        assert driver.find_domain(guest.uuid) == defined
        assert kinds(driver, guest.uuid) >= {"domain"}
        for _ in range(2):
            driver.undefine_domain(guest.uuid)
            assert driver.find_domain(guest.uuid) is None

    def test_defining_twice_returns_what_is_there(self, guest: Guest) -> None:
        assert guest.define() == guest.define()

    def test_a_name_in_use_is_a_conflict_and_changes_nothing(
        self, compute: ComputeSubject, guest: Guest
    ) -> None:
        guest.define()
        other = Guest(compute, name=guest.name)
        try:
            with pytest.raises(Conflict):
                other.driver.validate(other.spec)
            with pytest.raises(Conflict):
                other.define()
            assert other.driver.find_domain(other.uuid) is None
            found = guest.driver.find_domain(guest.uuid)
            assert found is not None
            assert found.build == guest.uuid
        finally:
            other.remove()

    def test_a_guest_runs_and_is_gone_when_it_was_destroyed(self, guest: Guest) -> None:
        driver = guest.driver
        guest.define()
        started = driver.start_domain(guest.uuid)
        assert started.active
        assert started.power_state == power.RUNNING
        assert driver.start_domain(guest.uuid).active
        found = driver.find_domain(guest.uuid)
        assert found is not None
        assert found.active
        assert kinds(driver, guest.uuid) >= {"domain", "guest"}
        with pytest.raises(Refused):
            driver.undefine_domain(guest.uuid)
        for _ in range(2):
            driver.destroy_domain(guest.uuid)
            found = driver.find_domain(guest.uuid)
            assert found is not None
            assert not found.active
            if guest.subject.really:
                assert qemus(guest.uuid) == []
        assert "guest" not in kinds(driver, guest.uuid)

    def test_what_is_not_there_is_undefined_and_destroyed_already(
        self, compute: ComputeSubject
    ) -> None:
        compute.driver.destroy_domain(new_key())
        compute.driver.undefine_domain(new_key())

    def test_starting_what_is_not_there_is_refused(self, compute: ComputeSubject) -> None:
        with pytest.raises(Refused):
            compute.driver.start_domain(new_key())

    def test_a_port_is_plugged_and_unplugged(self, compute: ComputeSubject) -> None:
        compute.driver.plug_vif(compute.port)
        compute.driver.unplug_vif(compute.port)
        compute.driver.unplug_vif(compute.port)
        assert not compute.driver.find_vif(compute.port)

    def test_a_vif_type_that_is_not_supported_is_refused(self, compute: ComputeSubject) -> None:
        with pytest.raises(Refused):
            compute.driver.plug_vif({**compute.port, "type": "hw_veb"})

    @pytest.mark.parametrize(
        ("changed", "why"),
        [
            ({"memory_mib": 0}, BadInput),
            ({"memory_mib": -1}, BadInput),
            ({"memory_mib": 900 << 20}, BuildflowError),
            ({"vcpus": 0}, BadInput),
            ({"vcpus": 100_000}, BuildflowError),
        ],
    )
    def test_sizes_that_can_never_start_are_refused_beforehand(
        self, guest: Guest, changed: dict[str, int], why: type[BuildflowError]
    ) -> None:
        from dataclasses import replace

        with pytest.raises(why):
            guest.driver.validate(replace(guest.spec, **changed))  # type: ignore[arg-type]

    def test_guests_are_made_at_once(self, compute: ComputeSubject) -> None:
        def one(_number: int) -> Domain:
            guest = Guest(compute)
            try:
                guest.define()
                return guest.driver.start_domain(guest.uuid)
            finally:
                guest.remove()

        results = all_at_once(3, one)
        assert [r for r in results if isinstance(r, BuildflowError)] == []
        assert len({domain.uuid for domain in results}) == 3


def qemus(uuid: str) -> list[int]:
    """QEMU processes with this guest, as the kernel lists them; a zombie has no command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if uuid.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


class TestGuestsThatRun:
    """What only a hypervisor that really runs guests can show."""

    @pytest.fixture(params=params(subjects.RUNNING_COMPUTES))
    def compute(self, request: pytest.FixtureRequest) -> Iterator[ComputeSubject]:
        with request.param.opened(request) as subject:
            yield subject

    def test_the_console_is_read_on_from_where_it_ended(self, guest: Guest) -> None:
        guest.define()
        guest.driver.start_domain(guest.uuid)
        text, offset = b"", 0
        deadline = time.monotonic() + 60
        while len(text) < 400:
            data, offset = guest.driver.console(guest.uuid, offset)
            text += data
            assert len(text) == offset
            assert time.monotonic() < deadline
            time.sleep(0.05)
        again, end = guest.driver.console(guest.uuid, 0)
        assert again[: len(text)] == text
        assert end >= offset

    def test_an_unknown_virt_type_is_refused(self, compute: ComputeSubject) -> None:
        assert compute.driver.virt_type("qemu") == "qemu"
        with pytest.raises(BadInput):
            compute.driver.virt_type("vax")
