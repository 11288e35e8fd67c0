"""A private libvirtd: the real `qemu:///system`, which a test may kill -9 without a second thought.

It shares the host's network namespace, as its guests need real bridges, so each network made here
gets a bridge name and a subnet that nothing else uses.
"""

import contextlib
import fcntl
import ipaddress
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.lab.libvirt.firewall import make_chains
from tests.lab.process import LabError, ProcessId

_REPOSITORY = Path(__file__).parents[3]
_KEEPER = "tests.lab.libvirt.keeper"
_SOCKET_PATH_LIMIT = 107  # sun_path


@dataclass(frozen=True)
class LabNetwork:
    """An isolated libvirt network with DHCP, on a bridge of its own."""

    name: str
    uuid: str
    bridge: str
    subnet: ipaddress.IPv4Network

    @property
    def gateway(self) -> str:
        """The bridge's own address."""
        return str(self.subnet[1])

    def address(self, number: int) -> str:
        """A fixed address outside the range that DHCP gives away: 0 to 99."""
        if not 0 <= number < 100:
            raise ValueError("fixed addresses are numbered 0 to 99")
        return str(self.subnet[number + 10])

    @property
    def xml(self) -> str:
        """The definition, dynamic addresses from .128 on."""
        return (
            f"<network><name>{self.name}</name><uuid>{self.uuid}</uuid>"
            f"<bridge name='{self.bridge}' stp='off' delay='0'/>"
            f"<ip address='{self.gateway}' netmask='{self.subnet.netmask}'>"
            f"<dhcp><range start='{self.subnet[128]}' end='{self.subnet[250]}'/></dhcp>"
            "</ip></network>"
        )


class PrivateLibvirtd:
    """Owns one libvirtd, its guests and its networks; `close()` leaves nothing of them.

    Needs root. `directory` must be one that the user libvirt-qemu can enter if disks are put there.
    """

    def __init__(self, directory: Path, capabilities: Path | None = None) -> None:
        """Keep all state in `directory`; share QEMU's probed capabilities, if given, with others.

        Probing takes seconds, and its result holds for every libvirtd of one host.
        """
        self.directory = directory.resolve()
        self._token = f"bf{secrets.token_hex(3)}"
        self._keeper: subprocess.Popen[str] | None = None
        self._libvirtd: ProcessId | None = None
        self._bridges = 0
        self._socket = self.directory / "sock/libvirt-sock"
        if len(str(self._socket)) > _SOCKET_PATH_LIMIT:
            raise LabError(f"{self._socket} is too long for a socket: use a shorter directory")
        self._lay_out(capabilities)

    @property
    def uri(self) -> str:
        """What to open with libvirt."""
        return f"qemu+unix:///system?socket={self._socket}"

    @property
    def pid(self) -> int | None:
        """The running libvirtd's pid."""
        return self._libvirtd.pid if self._libvirtd is not None and self._libvirtd.alive else None

    @property
    def log(self) -> str:
        """All that libvirtd logged, warnings and worse."""
        path = self.directory / "log/libvirtd.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self, timeout: float = 30) -> None:
        """Start libvirtd and wait until it answers.

        Guests that still run are found again a moment later. A `destroy` in that moment does its
        work but may answer "domain is not running".
        """
        if self.pid is not None:
            raise LabError("libvirtd is running already")
        if self._keeper is None:
            make_chains()
            self._keeper = self._start_keeper()
        self._socket.unlink(missing_ok=True)  # of one that was killed
        self._wait(self._is_free, 10, "lets go of its pid file")
        self._libvirtd = ProcessId.of(int(self._order("start")))
        self._wait(self._answers, timeout, "answers")

    def stop(self, timeout: float = 20) -> None:
        """End libvirtd as an administrator would; its guests go on."""
        libvirtd = self._running()
        libvirtd.signal(signal.SIGTERM)
        self._wait(lambda: not libvirtd.alive, timeout, "ends")

    def kill9(self) -> None:
        """Kill libvirtd where it stands; its guests go on."""
        libvirtd = self._running()
        libvirtd.signal(signal.SIGKILL)
        self._wait(lambda: not libvirtd.alive, 10, "dies")

    def restart(self, timeout: float = 30) -> None:
        """Stop libvirtd, if it runs, and start it again beside its running guests."""
        if self.pid is not None:
            self.stop()
        self.start(timeout)

    def _is_free(self) -> bool:
        """Whether nobody holds the pid file: a process that was killed is called dead while some of
        its threads still go, and its locks with the last of them.
        """
        try:
            with (self.directory / "libvirtd.pid").open("r+") as file:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True

    def guests(self) -> list[int]:
        """The pids of the QEMU processes that this libvirtd started."""
        if self._keeper is None:
            return []
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError, IndexError):
                name, _, rest = (entry / "stat").read_text().rpartition(")")
                parent = int(rest.split()[1])
                if parent == self._keeper.pid and "(qemu-system" in name:
                    found.append(int(entry.name))
        return sorted(found)

    def bridges(self) -> list[str]:
        """The bridges on this host that are this libvirtd's."""
        names = [link.name for link in Path("/sys/class/net").iterdir()]
        return sorted(name for name in names if name.startswith(self._token))

    def plan_network(self, name: str) -> LabNetwork:
        """Give a network a bridge name and a subnet that nothing on this host uses."""
        self._bridges += 1
        bridge = f"{self._token}-{self._bridges}"
        return LabNetwork(name, str(uuid.uuid4()), bridge, free_subnet())

    def create_network(self, name: str) -> LabNetwork:
        """Define and start an isolated network."""
        import libvirt

        network = self.plan_network(name)
        connection: Any = libvirt.open(self.uri)
        try:
            connection.networkDefineXML(network.xml).create()
        finally:
            connection.close()
        return network

    def close(self) -> None:
        """End libvirtd, its guests, dnsmasq and bridges; the directory stays for its logs."""
        if self._keeper is None:
            return
        keeper, self._keeper, self._libvirtd = self._keeper, None, None
        assert keeper.stdin is not None
        keeper.stdin.close()
        with keeper:  # closes its output too
            keeper.wait(30)

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Clean up."""
        self.close()

    def _lay_out(self, capabilities: Path | None) -> None:
        if os.geteuid() != 0:
            raise LabError("a private libvirtd needs root: mounts, bridges and taps")
        for name in ("run", "lib", "cache", "log/qemu", "etc/qemu/networks", "sock"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        for name in ("run", "lib"):
            (self.directory / name).chmod(0o711)  # QEMU runs as another user
        if capabilities is not None:
            capabilities.mkdir(parents=True, exist_ok=True)
            (self.directory / "cache/qemu").mkdir(exist_ok=True)
            link = self.directory / "cache/qemu/capabilities"
            if not link.is_symlink():
                link.symlink_to(capabilities.resolve())
        filters = Path("/etc/libvirt/nwfilter")
        if filters.is_dir():
            shutil.copytree(filters, self.directory / "etc/nwfilter", dirs_exist_ok=True)
        # No virtlogd: QEMU writes the console's log itself. No cgroups: their names come from a
        # guest's number and name, so that guests of two libvirtds could share one and die together.
        (self.directory / "etc/qemu.conf").write_text(
            'stdio_handler = "file"\ncgroup_controllers = []\n'
        )
        (self.directory / "libvirtd.conf").write_text(
            f'unix_sock_dir = "{self.directory}/sock"\n'
            'unix_sock_rw_perms = "0777"\n'
            'auth_unix_rw = "none"\nauth_unix_ro = "none"\n'
            f'log_outputs = "3:file:{self.directory}/log/libvirtd.log"\n'
        )

    def _start_keeper(self) -> subprocess.Popen[str]:
        keeper = subprocess.Popen(
            [sys.executable, "-m", _KEEPER, str(self.directory), self._token],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(self.directory / "log/keeper.log").open("a"),
            text=True,
            cwd=_REPOSITORY,
        )
        assert keeper.stdout is not None
        if keeper.stdout.readline() != "ready\n":
            keeper.wait()
            raise LabError((self.directory / "log/keeper.log").read_text())
        return keeper

    def _order(self, order: str) -> str:
        assert self._keeper is not None
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.write(f"{order}\n")
        self._keeper.stdin.flush()
        return self._keeper.stdout.readline().strip()

    def _running(self) -> ProcessId:
        if self._libvirtd is None or not self._libvirtd.alive:
            raise LabError("libvirtd is not running")
        return self._libvirtd

    def _answers(self) -> bool:
        if self.pid is None:
            raise LabError(f"libvirtd ended at its start:\n{self._output()}")
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(self._socket))
            except OSError:
                return False
        return True

    def _wait(self, true: Callable[[], bool], timeout: float, what: str) -> None:
        deadline = time.monotonic() + timeout
        while not true():
            if time.monotonic() > deadline:
                raise LabError(f"libvirtd neither {what} nor fails in {timeout:.0f} s:\n{self.log}")
            time.sleep(0.01)

    def _output(self) -> str:
        return self.log + (self.directory / "log/libvirtd.out").read_text(errors="replace")


def free_subnet() -> ipaddress.IPv4Network:
    """A /24 that no interface of this host has an address in."""
    listed = subprocess.run(
        ["ip", "-json", "-4", "address"], capture_output=True, text=True, check=True
    )
    used = [
        ipaddress.ip_network(f"{address['local']}/{address['prefixlen']}", strict=False)
        for link in json.loads(listed.stdout)
        for address in link["addr_info"]
    ]
    while True:
        subnet = ipaddress.IPv4Network(
            f"10.{200 + secrets.randbelow(50)}.{secrets.randbelow(256)}.0/24"
        )
        if not any(subnet.overlaps(other) for other in used):
            return subnet
