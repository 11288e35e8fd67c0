"""Domains on the embedded hypervisor: what libvirt would allow and we do not, and failed starts."""

import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from buildflow.config import Settings
from buildflow.drivers.libvirt.compute import LibvirtDriver
from buildflow.drivers.protocols import Image, PortRequest
from buildflow.drivers.registry import open_driver
from buildflow.errors import (
    BadInput,
    BuildflowError,
    Conflict,
    DriverError,
    Exhausted,
    HostUnusable,
    Refused,
)
from buildflow.states import power
from tests.drivers.embedded import shared_uri
from tests.drivers.libvirt.guests import Guest, command_line, open_guest
from tests.lab.directories import open_directory
from tests.lab.guest import GuestImages

pytestmark = [pytest.mark.libvirt]


@pytest.fixture
def home() -> Iterator[Path]:
    with open_directory("bf-home-") as home:
        yield home


@pytest.fixture
def driver(home: Path) -> Iterator[LibvirtDriver]:
    driver = open_driver("compute", Settings(home=home, connect=shared_uri()))
    assert isinstance(driver, LibvirtDriver)
    yield driver
    assert list(driver.inventory()) == []
    root = driver.connection.target.root
    assert root is not None
    assert list((root / "log" / "qemu").glob("*")) == []
    driver.close()


@pytest.fixture
def image(guest_images: GuestImages) -> Image:
    return open_driver("image", Settings()).fetch(str(guest_images.qcow2), lambda _s: None)


def qemu_pid(guest: Guest) -> int:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if guest.uuid.encode() in (entry / "cmdline").read_bytes():
                    return int(entry.name)
            except OSError:
                continue
    raise AssertionError("no QEMU")


def state_of(guest: Guest) -> int:
    domain = guest.driver.find_domain(guest.uuid)
    assert domain is not None
    return domain.power_state


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


# --- a whole life ---------------------------------------------------------------------------------


def test_a_guest_boots_and_says_its_own_uuid(
    driver: LibvirtDriver, image: Image, home: Path
) -> None:
    port = open_driver("network", Settings(home=home)).create_port(
        "key", "i", "web", PortRequest("user")
    )
    with open_guest(lambda: Guest(driver, image, ports=[port])) as guest:
        guest.start()
        console = guest.wait_for()
        assert f"uuid={guest.uuid}".encode() in console
        assert f"serial={guest.uuid}".encode() in console
        assert b"ip=10.0.2.15" in console
        assert port["address"].encode() in console
    assert command_line(guest.uuid) == b""


def test_a_guest_with_an_agent_tells_its_addresses(
    driver: LibvirtDriver, guest_images: GuestImages, home: Path
) -> None:
    path = guest_images.qcow2.with_name("guest-agent.qcow2")
    image = open_driver("image", Settings()).fetch(str(path), lambda _s: None)
    networks = open_driver("network", Settings(home=home))
    port = networks.create_port("key", "i", "web", PortRequest("user"))
    with open_guest(lambda: Guest(driver, image, ports=[port])) as guest:
        assert driver.addresses(guest.uuid, [port], time.sleep) == []
        guest.start()
        assert driver.addresses(guest.uuid, [port], time.sleep) == []
        until(lambda: driver.addresses(guest.uuid, [port], time.sleep) == ["10.0.2.15"], 150)
        other = {**port, "address": "52:54:00:00:00:01"}
        assert driver.addresses(guest.uuid, [other], time.sleep) == []


def test_the_xml_that_libvirt_keeps_holds_what_was_asked_for(
    driver: LibvirtDriver, image: Image
) -> None:
    with open_guest(lambda: Guest(driver, image)) as guest:
        guest.spec = replace(guest.spec, metadata={"build": "b-1", "request": "<&\"'>"})
        guest.driver.define_domain(guest.uuid, guest.xml)
        found = driver.find_domain(guest.uuid)
        assert found is not None
        assert found.build == "b-1"
        with driver.connection.calling("read it") as conn:
            kept = conn.lookupByUUIDString(guest.uuid).XMLDesc(0)
    for expected in (
        "virtio-serial", "org.qemu.guest_agent.0", "<rng model='virtio'", "memballoon",
        "<smbios mode='sysinfo'/>", f"<entry name='serial'>{guest.uuid}", "console.log",
        "&lt;&amp;\"'&gt;",
    ):  # fmt: skip
        assert expected in kept
    assert "<graphics" not in kept
    assert "<video" not in kept


# --- guards ---------------------------------------------------------------------------------------


def test_a_domain_that_is_not_ours_is_neither_redefined_nor_taken_for_ours(
    driver: LibvirtDriver, image: Image
) -> None:
    with open_guest(lambda: Guest(driver, image)) as guest:
        foreign = (
            f"<domain type='qemu'><name>{guest.name}</name><uuid>{guest.uuid}</uuid>"
            "<memory unit='MiB'>32</memory><os><type arch='x86_64'>hvm</type></os></domain>"
        )
        with driver.connection.calling("define one by hand") as conn:
            conn.defineXML(foreign)
        found = driver.find_domain(guest.uuid)
        assert found is not None
        assert found.build is None
        with pytest.raises(Conflict, match="not ours"):
            guest.driver.define_domain(guest.uuid, guest.xml)
        (domain,) = [t for t in driver.inventory() if t.kind == "domain"]
        assert domain.build is None


def test_a_running_domain_is_not_undefined(driver: LibvirtDriver, image: Image) -> None:
    with open_guest(lambda: Guest(driver, image)) as guest:
        guest.start()
        with pytest.raises(Refused, match="destroy it before"):
            driver.undefine_domain(guest.uuid)
        found = driver.find_domain(guest.uuid)
        assert found is not None
        assert (found.persistent, found.active) == (True, True)


def test_a_name_that_cannot_be_is_refused_by_validate_and_by_to_xml(
    driver: LibvirtDriver, image: Image
) -> None:
    with open_guest(lambda: Guest(driver, image)) as guest:
        for name in ("", "x" * 300, "a<b", "a/b", "..", "a\nb", "a..b", "-a", "é", "a b"):
            bad = replace(guest.spec, name=name)
            with pytest.raises(BadInput):
                driver.validate(bad)
            with pytest.raises(BadInput):
                driver.to_xml(bad)


@pytest.mark.skipif(os.geteuid() != 0, reason="QEMU is another user only under root")
def test_a_place_that_qemu_may_not_enter_is_refused_with_the_cure(image: Image, home: Path) -> None:
    home.chmod(0o700)
    settings = Settings(home=home, connect=shared_uri())
    driver = open_driver("compute", settings)
    with pytest.raises(HostUnusable, match="chmod o\\+x"):
        driver.check()
    home.chmod(0o755)
    driver.check()
    private = home / "private"
    private.mkdir(mode=0o700)
    shutil.copy(image.path, private / "image.qcow2")
    directory = driver.create_directory("d")
    with pytest.raises(HostUnusable, match="private"):
        driver.create_disk("k", directory, replace(image, path=str(private / "image.qcow2")), None)
    driver.delete_directory("d")


@pytest.mark.root
def test_an_image_where_qemu_may_not_go_is_copied_once_and_boots(
    driver: LibvirtDriver, image: Image, home: Path
) -> None:
    private = home / "private"
    private.mkdir(mode=0o700)
    mine = private / "image.qcow2"
    shutil.copy(image.path, mine)
    mine.chmod(0o600)
    images = open_driver("image", Settings(home=home, connect=shared_uri()))
    fetched = images.fetch(str(mine), time.sleep)
    assert Path(fetched.path).parent == home / "images" / "files"
    assert images.fetch(str(mine), time.sleep) == fetched
    assert len(list((home / "images" / "files").iterdir())) == 1
    with open_guest(lambda: Guest(driver, fetched)) as guest:
        guest.start()
        guest.wait_for(b"\n")
    assert (mine.stat().st_uid, mine.stat().st_mode & 0o777) == (os.geteuid(), 0o600)
    os.utime(mine)  # changed: copied anew, for disks may stand on the old one
    assert images.fetch(str(mine), time.sleep).path != fetched.path


@pytest.mark.root
def test_a_full_disk_leaves_no_half_made_one(driver: LibvirtDriver, image: Image) -> None:
    directory = Path(driver.create_directory("full"))
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(directory)]
    subprocess.run(command, check=True)
    try:
        with pytest.raises(Exhausted, match="No space left"):
            driver.create_disk("k", str(directory), image, None)
        assert list(directory.iterdir()) == []
    finally:
        subprocess.run(["umount", str(directory)], check=True)
        driver.delete_directory("full")


@pytest.mark.root
@pytest.mark.parametrize("daemon", [False, True], ids=["embed", "system"])
def test_the_image_keeps_its_owner(
    image: Image, home: Path, daemon: bool, request: pytest.FixtureRequest
) -> None:
    mine = home / "image.qcow2"
    shutil.copy(image.path, mine)
    mine.chmod(0o644)
    uri = request.getfixturevalue("libvirtd").uri if daemon else shared_uri()
    driver = open_driver("compute", Settings(home=home, connect=uri))
    with open_guest(lambda: Guest(driver, replace(image, path=str(mine)))) as guest:
        guest.start()
        guest.wait_for(b"\n")
        assert (mine.stat().st_uid, mine.stat().st_gid) == (os.geteuid(), os.getegid())
    assert (mine.stat().st_uid, mine.stat().st_gid) == (os.geteuid(), os.getegid())
    assert os.listxattr(mine) == []
    driver.close()


# --- inventory ---------------------------------------------------------------------------------


def test_a_qemu_without_a_domain_is_seen(driver: LibvirtDriver, image: Image) -> None:
    def seen(kind: str) -> list[str | None]:
        return [thing.key for thing in driver.inventory() if thing.kind == kind]

    with open_guest(lambda: Guest(driver, image)) as guest:
        guest.start()
        assert guest.uuid in seen("guest")
        assert seen("process") == []
        # one that libvirt lost: its arguments are all that is left to know it by
        root = driver.connection.target.root
        stray = subprocess.Popen(
            ["qemu-system-x86_64", "-S", "-nodefaults", "-display", "none", "-machine", "none",
             "-uuid", str(uuid.uuid4()), "-name", f"x,debug-threads=on,process={root}/lib/qemu/x"],
            executable=shutil.which("qemu-system-x86_64"),
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            until(lambda: len(seen("process")) == 1)
            assert seen("guest") == [guest.uuid]
        finally:
            stray.kill()
            stray.wait()


# --- guests that die ------------------------------------------------------------------------------


def test_a_killed_qemu_is_crashed(driver: LibvirtDriver, image: Image) -> None:
    with open_guest(lambda: Guest(driver, image)) as guest:
        guest.start()
        os.kill(qemu_pid(guest), signal.SIGKILL)
        until(lambda: state_of(guest) == power.CRASHED)


def test_a_guest_that_powers_off_is_shut_down(
    driver: LibvirtDriver, guest_images: GuestImages
) -> None:
    path = guest_images.qcow2.with_name("guest-poweroff.qcow2")
    image = open_driver("image", Settings()).fetch(str(path), lambda _s: None)
    with open_guest(lambda: Guest(driver, image)) as guest:
        guest.start()
        until(lambda: state_of(guest) == power.SHUTDOWN, 150)
        console, _ = driver.console(guest.uuid)
        assert console


# --- failed starts: the domain stays defined, and nothing else ------------------------------------


def missing_disk(guest: Guest) -> None:
    Path(guest.disk or "").unlink()


def missing_base(guest: Guest) -> None:
    base = Path(guest.directory) / "base.raw"
    base.write_bytes(b"\0" * 512)
    Path(guest.disk or "").unlink()
    command = [
        "qemu-img",
        "create",
        "-q",
        "-f",
        "qcow2",
        "-F",
        "raw",
        "-b",
        str(base),
        guest.disk or "",
    ]
    subprocess.run(command, check=True)
    base.unlink()


def corrupt_disk(guest: Guest) -> None:
    with Path(guest.disk or "").open("r+b") as file:
        file.write(b"nonsense" * 64)


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (missing_disk, "No such file"),
        (missing_base, "No such file"),
        (corrupt_disk, "not in qcow2 format"),
    ],
)
def test_a_disk_that_cannot_be_opened(
    driver: LibvirtDriver, image: Image, harm: Callable[[Guest], None], says: str
) -> None:
    with open_guest(lambda: Guest(driver, image)) as guest:
        harm(guest)
        failed_start(guest, Refused, says)


def test_a_disk_that_another_domain_has_locked(driver: LibvirtDriver, image: Image) -> None:
    with (
        open_guest(lambda: Guest(driver, image)) as first,
        open_guest(lambda: Guest(driver, image)) as second,
    ):
        first.start()
        second.spec = replace(second.spec, root_disk=first.disk)
        failed_start(second, Refused, "lock")
        assert state_of(first) == power.RUNNING


def test_a_bridge_that_is_missing(driver: LibvirtDriver, image: Image) -> None:
    port = {
        "id": str(uuid.uuid4()), "address": "52:54:00:00:00:09", "type": "bridge",
        "network": {"id": "b", "label": "b", "bridge": "no-such-br", "subnets": []},
        "details": {}, "devname": None,
    }  # fmt: skip
    with open_guest(lambda: Guest(driver, image, ports=[port])) as guest:
        failed_start(guest, DriverError, "no-such-br")


def failed_start(guest: Guest, error: type[BuildflowError], says: str) -> None:
    guest.driver.define_domain(guest.uuid, guest.xml)
    with pytest.raises(error, match=says) as caught:
        guest.driver.start_domain(guest.uuid)
    assert isinstance(caught.value, DriverError)
    assert caught.value.code is not None
    assert not caught.value.outcome_unknown
    found = guest.driver.find_domain(guest.uuid)
    assert found is not None
    assert (found.active, found.power_state) == (False, power.SHUTDOWN)
    assert command_line(guest.uuid) == b""
