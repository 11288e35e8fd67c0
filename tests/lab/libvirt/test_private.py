"""The private libvirtd: its guests outlive it, and nothing outlives its owner."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest

from tests.lab.directories import open_directory
from tests.lab.guest import MARKER, GuestImages, whole_line
from tests.lab.libvirt import LabNetwork, PrivateLibvirtd

pytestmark = [pytest.mark.libvirt, pytest.mark.root]


def litter(directory: Path) -> list[str]:
    """What is left of a private libvirtd: processes and mounts that name its directory."""
    processes = [
        line
        for line in subprocess.run(
            ["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        if str(directory) in line
    ]
    mounts = [
        line for line in Path("/proc/mounts").read_text().splitlines() if str(directory) in line
    ]
    return processes + mounts


def until(true: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)


@pytest.fixture
def daemon(capabilities: Path) -> Iterator[PrivateLibvirtd]:
    with open_directory() as directory:
        with PrivateLibvirtd(directory, capabilities) as daemon:
            yield daemon
        assert litter(directory) == []
        assert daemon.bridges() == []


def define(daemon: PrivateLibvirtd, network: LabNetwork, images: GuestImages) -> Any:
    disk = daemon.directory / "guest.qcow2"
    create = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(images.qcow2)]
    subprocess.run([*create, str(disk)], check=True)
    return libvirt.open(daemon.uri).defineXML(
        "<domain type='qemu'><name>lab</name><memory unit='MiB'>96</memory>"
        "<os><type arch='x86_64'>hvm</type></os><devices>"
        f"<disk type='file'><driver name='qemu' type='qcow2'/><source file='{disk}'/>"
        "<target dev='vda' bus='virtio'/></disk>"
        f"<interface type='network'><source network='{network.name}'/><model type='virtio'/>"
        "</interface><serial type='pty'>"
        f"<log file='{daemon.directory}/console.log'/></serial></devices></domain>"
    )


def test_a_guest_outlives_a_killed_libvirtd_and_is_found_again(
    daemon: PrivateLibvirtd, guest_images: GuestImages
) -> None:
    network = daemon.create_network("lab-net")
    domain = define(daemon, network, guest_images)
    domain.create()
    guests = daemon.guests()
    assert len(guests) == 1
    uuid = domain.UUIDString()

    daemon.kill9()
    assert daemon.pid is None
    assert daemon.guests() == guests
    daemon.start()

    domain = libvirt.open(daemon.uri).lookupByUUIDString(uuid)
    assert domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING
    console = daemon.directory / "console.log"

    def marker() -> str:
        return whole_line(console.read_text(errors="replace"), MARKER) or ""

    until(lambda: marker() != "")
    assert f"uuid={uuid}" in marker()
    assert f"ip={network.subnet.network_address}"[:-1] in marker()

    began = time.monotonic()
    domain.destroy()
    # 1.4 s where an orphaned QEMU must be reaped by a slow PID 1.
    assert time.monotonic() - began < 1.2
    assert daemon.guests() == []


def test_closing_ends_a_running_guest_and_its_network(
    daemon: PrivateLibvirtd, guest_images: GuestImages
) -> None:
    network = daemon.create_network("lab-net")
    define(daemon, network, guest_images).create()
    assert daemon.bridges() == [network.bridge]
    daemon.close()
    assert daemon.bridges() == []
    assert daemon.guests() == []


def test_two_of_them_know_nothing_of_each_other(
    daemon: PrivateLibvirtd, capabilities: Path, guest_images: GuestImages
) -> None:
    with open_directory() as directory, PrivateLibvirtd(directory, capabilities) as other:
        first, second = daemon.create_network("lab-net"), other.create_network("lab-net")
        assert first.bridge != second.bridge
        assert not first.subnet.overlaps(second.subnet)
        guests = [
            define(each, each_net, guest_images)
            for each, each_net in ((daemon, first), (other, second))
        ]
        for guest in guests:
            guest.create()
        guests[0].destroy()
        assert daemon.guests() == []
        assert len(other.guests()) == 1
        assert guests[1].state()[0] == libvirt.VIR_DOMAIN_RUNNING


def test_stopping_and_starting_again(daemon: PrivateLibvirtd) -> None:
    first = daemon.pid
    daemon.restart()
    assert daemon.pid not in {None, first}
    assert libvirt.open(daemon.uri).listAllDomains() == []


def test_a_killed_test_run_leaves_nothing(capabilities: Path) -> None:
    with open_directory() as directory:
        program = (
            "import sys, time; from pathlib import Path;"
            "from tests.lab.libvirt import PrivateLibvirtd;"
            "daemon = PrivateLibvirtd(Path(sys.argv[1]), Path(sys.argv[2])); daemon.start();"
            "print(daemon.create_network('lab-net').bridge, flush=True); time.sleep(600)"
        )
        command = [sys.executable, "-c", program, str(directory), str(capabilities)]
        run = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
        )
        with run:
            assert run.stdout is not None
            bridge = Path("/sys/class/net") / run.stdout.readline().strip()
            assert bridge.name
            assert bridge.exists()
            run.send_signal(signal.SIGKILL)
        # the bridge goes last, and a listing of processes may miss its keeper for a moment
        until(lambda: not bridge.exists() and not litter(directory), 15)
