"""libvirtd dies in mid-call: the answer is lost, not the guest, and nothing leaks."""

import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from buildflow.config import Settings
from buildflow.drivers.libvirt import connection
from buildflow.drivers.protocols import ComputeDriver, Image, Json, PortRequest
from buildflow.drivers.registry import open_driver
from buildflow.errors import BuildflowError, DriverError, HostUnusable
from tests.drivers.libvirt.guests import Guest, command_line
from tests.lab.directories import open_directory
from tests.lab.guest import GuestImages
from tests.lab.libvirt import LabNetwork, PrivateLibvirtd

pytestmark = [pytest.mark.libvirt, pytest.mark.root]


@pytest.fixture
def home() -> Iterator[Path]:
    with open_directory("bf-home-") as home:
        yield home


@pytest.fixture
def compute(libvirtd: PrivateLibvirtd, home: Path) -> Iterator[ComputeDriver]:
    if libvirtd.pid is None:
        libvirtd.start()
    driver = open_driver("compute", Settings(home=home, connect=libvirtd.uri))
    before = things(driver)
    yield driver
    if libvirtd.pid is None:
        libvirtd.start()
    assert things(driver) == before
    driver.close()


def things(driver: ComputeDriver) -> set[tuple[str, str]]:
    """What the driver sees, without QEMUs of other hypervisors."""
    return {(thing.kind, thing.id) for thing in driver.inventory() if thing.kind != "process"}


@contextmanager
def removed_at_the_end(libvirtd: PrivateLibvirtd, guest: Guest) -> Iterator[Guest]:
    """Whatever a test did to libvirtd, and however it ended: the guest goes."""
    try:
        yield guest
    finally:
        if libvirtd.pid is None:
            libvirtd.start()
        guest.remove()
        assert command_line(guest.uuid) == b""


@pytest.fixture
def image(guest_images: GuestImages) -> Image:
    return open_driver("image", Settings()).fetch(str(guest_images.qcow2), lambda _s: None)


def taps(network: LabNetwork) -> set[str]:
    """The taps on the network's own bridge; other tests have theirs elsewhere."""
    return {tap.name for tap in Path("/sys/class/net", network.bridge, "brif").iterdir()}


@pytest.fixture
def port(libvirtd: PrivateLibvirtd, lab_network: LabNetwork, home: Path) -> Iterator[Json]:
    networks = open_driver("network", Settings(home=home, connect=libvirtd.uri))
    key = str(uuid.uuid4())
    port = networks.create_port(key, "instance", "web", PortRequest(lab_network.name))
    yield port
    networks.delete_port(key, port)
    networks.close()


@pytest.mark.parametrize("after_s", [0.0, 0.03, 0.1, 0.2, 0.3, 0.6])
def test_in_mid_start(
    compute: ComputeDriver,
    libvirtd: PrivateLibvirtd,
    lab_network: LabNetwork,
    image: Image,
    port: Json,
    after_s: float,
) -> None:
    before = taps(lab_network)
    with removed_at_the_end(libvirtd, Guest(compute, image, ports=[port])) as guest:
        guest.driver.define_domain(guest.uuid, guest.xml)
        killer = threading.Timer(after_s, libvirtd.kill9)
        killer.start()
        outcome: BuildflowError | None = None
        try:
            compute.start_domain(guest.uuid)
        except BuildflowError as error:
            outcome = error
        killer.join()
        if outcome is not None and not isinstance(outcome, HostUnusable):
            assert isinstance(outcome, DriverError), outcome
            assert outcome.outcome_unknown, outcome
        with pytest.raises(HostUnusable):  # nobody there: said so, and at once
            compute.find_domain(guest.uuid)
        libvirtd.start()
        # the driver finds its way back by itself, and the world tells what happened
        deadline = time.monotonic() + 15
        found = compute.find_domain(guest.uuid)
        # a QEMU that libvirtd's successor has ended may take a moment to be gone
        while found is None or found.active != bool(command_line(guest.uuid)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
            found = compute.find_domain(guest.uuid)
        if not found.active:
            assert compute.start_domain(guest.uuid).active
    assert taps(lab_network) == before


def test_between_calls_nobody_notices(
    compute: ComputeDriver, libvirtd: PrivateLibvirtd, image: Image
) -> None:
    with removed_at_the_end(libvirtd, Guest(compute, image)) as guest:
        guest.start()
        libvirtd.kill9()
        libvirtd.start()
        deadline = time.monotonic() + 10
        while not (found := compute.find_domain(guest.uuid)) or not found.active:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert guest.wait_for()


@pytest.mark.slow
def test_a_libvirtd_that_hangs_is_given_up(
    compute: ComputeDriver,
    libvirtd: PrivateLibvirtd,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "OPEN_S", 3.0)
    compute.check()
    pid = libvirtd.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    begin = time.monotonic()
    try:
        with pytest.raises(HostUnusable, match="does not answer"):
            compute.find_domain(str(uuid.uuid4()))
        assert time.monotonic() - begin < 40
        newcomer = open_driver("compute", Settings(home=home, connect=libvirtd.uri))
        with pytest.raises(HostUnusable, match="does not answer"):
            newcomer.check()
    finally:
        os.kill(pid, signal.SIGCONT)
    assert compute.find_domain(str(uuid.uuid4())) is None
