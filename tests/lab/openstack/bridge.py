"""The lab's Neutron network on this host: a real bridge, and DHCP with the ports' addresses."""

import ipaddress
import os
import subprocess
from pathlib import Path

from tests.lab.openstack.api import project_python_server
from tests.lab.process import LabError, Server


class LabBridge:
    """A Linux bridge with the subnet's gateway address; needs root."""

    def __init__(
        self, name: str, subnet: ipaddress.IPv4Network, database: Path, log: Path, lasting: bool
    ) -> None:
        """Plan a bridge whose DHCP server looks the ports up in Neutron's database."""
        self.name = name
        self.subnet = subnet
        self.server: Server = project_python_server(
            "dhcp", "tests.lab.openstack.dhcp", [name, str(subnet), str(database)], log, lasting
        )

    @property
    def exists(self) -> bool:
        """Whether this host has an interface of that name."""
        return Path(f"/sys/class/net/{self.name}").exists()

    def start(self) -> None:
        """Make the bridge and answer DHCP on it."""
        if os.geteuid() != 0:
            raise LabError("a bridge needs root")
        if self.exists:
            raise LabError(f"there is a {self.name} already: `ip link delete {self.name}`?")
        _ip("link", "add", self.name, "type", "bridge", "forward_delay", "0", "stp_state", "0")
        _ip("address", "add", f"{self.subnet[1]}/{self.subnet.prefixlen}", "dev", self.name)
        _ip("link", "set", self.name, "up")
        self.server.start()
        self.server.wait_until(lambda: "ready" in self.server.last_lines())

    def stop(self) -> None:
        """End DHCP and remove the bridge that `start` made."""
        if self.server.running_as is not None:
            self.server.stop()
            if self.exists:
                _ip("link", "delete", self.name)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
