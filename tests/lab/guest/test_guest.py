"""The guest image: each variant does what its name says, and making it is safe and repeatable."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.directories import CACHE, REPOSITORY
from tests.lab.guest import MARKER, GuestImages, make, whole_line
from tests.lab.guest.make import checksums

pytestmark = pytest.mark.libvirt


class Guest:
    """A guest under plain QEMU, without libvirt."""

    def __init__(self, image: Path, directory: Path, *devices: str) -> None:
        self.console = directory / "console.log"
        self.monitor = directory / "monitor"
        self.uuid = str(uuid.uuid4())
        self.process = subprocess.Popen(
            [
                "qemu-system-x86_64", "-m", "96", "-display", "none", "-no-reboot",
                "-uuid", self.uuid, "-smbios", f"type=1,serial={self.uuid}",
                "-serial", f"file:{self.console}", "-qmp", f"unix:{self.monitor},server,nowait",
                "-drive", f"file={image},if=virtio,format=qcow2",
                "-nic", "user,model=virtio-net-pci", *devices,
            ]
        )  # fmt: skip

    def text(self) -> str:
        return self.console.read_text(errors="replace") if self.console.exists() else ""

    def wait_for(self, text: str, seconds: float = 90) -> str:
        until(lambda: whole_line(self.text(), text) is not None, seconds)
        return str(whole_line(self.text(), text))

    @contextlib.contextmanager
    def monitor_file(self) -> Iterator[Any]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(str(self.monitor))
            with connection.makefile("rw") as file:
                assert "QMP" in json.loads(file.readline())
                order(file, "qmp_capabilities")
                yield file


def until(true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)


def order(file: Any, command: str) -> Any:
    file.write(json.dumps({"execute": command}) + "\n")
    file.flush()
    while True:
        answer = json.loads(file.readline())
        if "return" in answer:
            return answer["return"]


@pytest.fixture
def boot(tmp_path: Path) -> Iterator[Callable[..., Guest]]:
    """Boots an overlay of an image."""
    guests: list[Guest] = []

    def start(image: Path, *devices: str) -> Guest:
        overlay = tmp_path / "overlay.qcow2"
        if not overlay.exists():
            command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"]
            subprocess.run([*command, str(image), str(overlay)], check=True)
        (tmp_path / "console.log").unlink(missing_ok=True)
        guests.append(Guest(overlay, tmp_path, *devices))
        return guests[-1]

    yield start
    for guest in guests:
        guest.process.kill()
        guest.process.wait()


def test_the_marker_tells_who_the_guest_is_and_its_disk_remembers(
    boot: Callable[..., Guest], guest_images: GuestImages
) -> None:
    guest = boot(guest_images.qcow2)
    marker = guest.wait_for(MARKER)
    fields = dict(field.split("=", 1) for field in marker.split()[1:])
    assert fields["uuid"] == guest.uuid
    assert fields["serial"] == guest.uuid
    assert fields["hostname"] == f"bf-{guest.uuid[:8]}"
    assert fields["ip"] == "10.0.2.15"
    assert fields["root"] == "/dev/vda2"
    assert fields["boots"] == "1"
    assert re.match(r"vda:\d+,vda1:\d+,vda2:\d+,$", fields["disks"])

    with guest.monitor_file() as monitor:
        order(monitor, "system_powerdown")
    assert guest.process.wait(60) == 0
    assert "boots=2" in boot(guest_images.qcow2).wait_for(MARKER)


def test_one_powers_off_before_its_marker(
    boot: Callable[..., Guest], guest_images: GuestImages
) -> None:
    guest = boot(guest_images.variant("poweroff"))
    assert guest.process.wait(90) == 0
    assert "BUILDFLOW-GUEST-POWEROFF" in guest.text()
    assert MARKER not in guest.text()


def test_one_is_silent(boot: Callable[..., Guest], guest_images: GuestImages) -> None:
    guest = boot(guest_images.variant("silent"))
    guest.wait_for("BUILDFLOW-GUEST-SILENT")
    time.sleep(1)
    assert guest.process.poll() is None
    assert MARKER not in guest.text()


def test_one_panics_and_tells_its_host(
    boot: Callable[..., Guest], guest_images: GuestImages
) -> None:
    guest = boot(guest_images.variant("panic"), "-device", "pvpanic", "-action", "panic=pause")
    guest.wait_for("Kernel panic")
    with guest.monitor_file() as monitor:
        until(lambda: order(monitor, "query-status")["status"] == "guest-panicked", 30)


def test_one_answers_as_a_guest_agent(
    boot: Callable[..., Guest], guest_images: GuestImages, tmp_path: Path
) -> None:
    channel = tmp_path / "agent"
    guest = boot(
        guest_images.variant("agent"),
        *("-device", "virtio-serial", "-chardev", f"socket,path={channel},server=on,wait=off,id=a"),
        *("-device", "virtserialport,chardev=a,name=org.qemu.guest_agent.0"),
    )
    guest.wait_for(MARKER)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(str(channel))
        connection.sendall(b'{"execute": "guest-ping"}\n')
        assert json.loads(connection.recv(4096)) == {"return": {}}


def test_an_unknown_variant_is_refused(guest_images: GuestImages) -> None:
    with pytest.raises(ValueError, match="no guest variant"):
        guest_images.variant("windows")


@pytest.fixture
def elsewhere(guest_images: GuestImages, tmp_path: Path) -> Path:
    """A directory that has the packages but no images yet."""
    directory = tmp_path / "guest"
    directory.mkdir()
    (directory / "packages").symlink_to(CACHE / "guest/packages")
    return directory


@pytest.mark.slow
def test_the_same_packages_give_the_same_bytes(guest_images: GuestImages, elsewhere: Path) -> None:
    assert checksums(make(elsewhere)) == checksums(guest_images)


@pytest.mark.slow
def test_a_killed_run_leaves_no_half_image(elsewhere: Path) -> None:
    run = subprocess.Popen(
        [sys.executable, "-m", "tests.lab.guest", str(elsewhere)],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    until(lambda: any(elsewhere.glob(".making-*/*.qcow2")), 120)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert list(elsewhere.glob("*.qcow2")) == []
    images = make(elsewhere)
    assert all(path.exists() for path in images.files())
    assert not list(elsewhere.glob(".making-*"))


def test_what_is_up_to_date_is_not_made_again(guest_images: GuestImages) -> None:
    said: list[str] = []
    assert checksums(make(CACHE / "guest", said.append)) == checksums(guest_images)
    assert said == []
