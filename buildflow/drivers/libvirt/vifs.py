"""Plugging a port into this host, where libvirt does not do it (nova/virt/libvirt/vif.py).

libvirt plugs `user`, `network`, `bridge` and `ovs` when the domain starts and unplugs them when it
stops. A `tap` must be there before, and so must the bridge of a port that os-vif plugs.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from buildflow.drivers.libvirt.interface_xml import check_type
from buildflow.drivers.openstack import vif as os_vif
from buildflow.drivers.protocols import Json, Thing
from buildflow.errors import DriverError, Refused

_DEVICES: Final = Path("/sys/class/net")
_ALIAS: Final = "buildflow port "


class Vifs:
    """The taps that we made; each carries its port's id in its alias, so that it is found again."""

    def find(self, vif: Json) -> bool:
        """Whether the port is plugged by us: True only for a tap of ours, or os-vif's bridge."""
        if vif.get("plugged_by") == "os-vif":
            return os_vif.is_plugged(vif)
        return vif.get("type") == "tap" and _alias(vif["devname"]) == _ALIAS + vif["id"]

    def plug(self, vif: Json) -> None:
        """Make the tap of a `tap` port; nothing for types that libvirt plugs.

        Raises Refused for a type that is not supported or a device that is not ours.
        """
        check_type(vif)
        if vif.get("plugged_by") == "os-vif":
            os_vif.plug(vif)
        if vif["type"] != "tap" or self.find(vif):
            return
        name = vif["devname"]
        if (_DEVICES / name).exists() and _alias(name):
            raise Refused(
                f"device {name} is there and is not of port {vif['id']}", driver="compute"
            )
        if not (_DEVICES / name).exists():
            _ip("tuntap", "add", "dev", name, "mode", "tap")
        _ip("link", "set", "dev", name, "alias", _ALIAS + vif["id"])
        _ip("link", "set", "dev", name, "up")

    def unplug(self, vif: Json) -> None:
        """Remove the tap and see that it is gone; one that is not there is fine."""
        if vif.get("plugged_by") == "os-vif":
            os_vif.unplug(vif)
        elif self.find(vif):
            _ip("link", "delete", "dev", vif["devname"])

    def inventory(self) -> Iterator[Thing]:
        """The taps of ours on this host."""
        if not _DEVICES.is_dir():
            return
        for device in sorted(_DEVICES.iterdir()):
            alias = _alias(device.name)
            if alias.startswith(_ALIAS):
                yield Thing("vif", device.name, key=alias.removeprefix(_ALIAS))


def _alias(name: str) -> str:
    try:
        return (_DEVICES / name / "ifalias").read_text().strip()
    except OSError:
        return ""


def _ip(*arguments: str) -> None:
    try:
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Refused("`ip` is not installed: apt-get install iproute2", driver="compute") from None
    if done.returncode:
        raise DriverError(
            f"cannot plug: ip {' '.join(arguments)}: {done.stderr.strip()}",
            driver="compute",
            code=done.returncode,
        )
