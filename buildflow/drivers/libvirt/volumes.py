"""Volumes on this host: left to QEMU's own initiator, or connected as a device by os-brick.

QEMU's own initiator is preferred where it has one: no device ever appears on the host, so that none
can be left behind, and no privilege is needed.
"""

from __future__ import annotations

import os
import platform
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from buildflow.config import VOLUME_ATTACH, Settings
from buildflow.drivers.libvirt import qemu_modules
from buildflow.drivers.libvirt.disk_xml import NETWORK
from buildflow.drivers.libvirt.qemu_user import QemuUser
from buildflow.drivers.openstack import brick
from buildflow.drivers.protocols import Json
from buildflow.errors import BadInput, HostUnusable, Refused

_LOCAL: Final = "local"
_IQN: Final = "iqn.2008-11.org.linux-kvm:"


def initiator_of(host: str) -> str:
    """The iSCSI name under which every QEMU of `host` logs in, and which the volume service is
    told, for a backend may let in nobody else.
    """
    return _IQN + re.sub(r"[^a-z0-9.-]", "-", host.lower())


class Volumes:
    """What `volume_attach` (qemu, host or auto) makes of a connection_info.

    `owner` is QEMU's user where files must be given to it, None where QEMU is us or libvirt does
    it; `user` the one that must be able to come to them.
    """

    def __init__(
        self,
        settings: Settings,
        host: str,
        owner: tuple[int, int] | None,
        user: QemuUser | None,
    ) -> None:
        if settings.volume_attach not in VOLUME_ATTACH:
            raise BadInput(
                f"volume_attach is {settings.volume_attach!r}: use {', '.join(VOLUME_ATTACH)}"
            )
        self._mode = settings.volume_attach
        self._my_ip = settings.extra.get("my_ip")
        self._host = host
        self._owner = owner
        self._user = user

    def connector(self) -> Json:
        """Connector properties for the volume service; by os-brick when the host connects."""
        if self._mode == "host":
            return brick.connector_properties(self._ip(), self._host)
        return {
            "platform": platform.machine(),
            "os_type": "linux",
            "ip": self._ip(),
            "host": self._host,
            "initiator": initiator_of(self._host),
            "multipath": False,
            "enforce_multipath": False,
        }

    def connect(self, connection_info: Json, secret: Callable[[], Json]) -> Json:
        """What to add to connection_info['data']: `device_path` when the host has it, else nothing.

        Raises Refused for a volume that cannot be used here, with what would be needed.
        """
        kind = connection_info["driver_volume_type"]
        if kind == _LOCAL and connection_info["data"].get("format"):
            self._give_file(Path(connection_info["data"]["device_path"]))
            return {}
        if not self._by_host(kind):
            return {}
        full = secret() if connection_info["data"].get("auth_method") else connection_info
        return {"device_path": brick.connect(full)}

    def find(self, connection_info: Json) -> bool:
        """Whether this host has the volume open as a device now."""
        return self._is_device(connection_info) and brick.find(connection_info)

    def disconnect(self, connection_info: Json) -> None:
        """Flush and remove the device; nothing where there never was one."""
        if self._is_device(connection_info):
            brick.disconnect(connection_info)

    def _is_device(self, connection_info: Json) -> bool:
        kind = connection_info["driver_volume_type"]
        if kind == _LOCAL and connection_info["data"].get("format"):
            return False
        return self._by_host(kind)

    def _by_host(self, kind: str) -> bool:
        """Whether the host, rather than QEMU, opens volumes of this kind. Raises Refused."""
        if self._mode == "host":
            return True
        why = qemu_modules.missing(kind) if kind in NETWORK else f"QEMU has no {kind!r} driver"
        if why is None:
            return False
        if self._mode == "qemu":
            raise Refused(f"volume_attach is qemu, and {why}", driver="compute")
        if not brick.available():
            raise Refused(f"{why}, and os-brick is not installed", driver="compute")
        return True

    def _give_file(self, path: Path) -> None:
        if not path.is_file():
            raise Refused(f"volume file {path} is not there", driver="compute")
        closed = None if self._user is None else self._user.first_closed(path)
        if closed is not None:
            raise HostUnusable(f"QEMU may not enter {closed} on the way to volume {path}")
        if self._owner is not None:
            os.chown(path, *self._owner)

    def _ip(self) -> str:
        return str(self._my_ip) if self._my_ip else outward_address()


def outward_address() -> str:
    """The address that this host would speak from to the world; loopback when it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: it only asks the routing table
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
