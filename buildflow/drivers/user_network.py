"""User-mode networking: QEMU's own NAT. No bridge, no daemon, no privilege, no address to manage.

Every guest sees the same private network: it has 10.0.2.15, its gateway and DNS are QEMU itself,
and nobody reaches it from outside. A port is a small file that holds its MAC, so that what exists
can be listed and compared as with any other network.
"""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from buildflow.config import Settings
from buildflow.drivers.macs import check_mac, mac_from_key
from buildflow.drivers.protocols import Json, PortRequest, Thing
from buildflow.errors import BadInput, DriverError, NotFound

LABEL: Final = "user"
_CIDR: Final = ipaddress.ip_network("10.0.2.0/24")
_GATEWAY: Final = "10.0.2.2"
_DNS: Final = "10.0.2.3"
_GUEST: Final = "10.0.2.15"


class UserNetworkDriver:
    """NetworkDriver for `qemu:///embed` and `qemu:///session`. `directory` holds the ports."""

    name = LABEL

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def check(self) -> None:
        """QEMU brings all of it."""

    def inventory(self) -> Iterable[Thing]:
        """The ports that were made and not deleted."""
        for path in sorted(self._directory.glob("*.json")):
            port = _read(path)
            if port is not None:
                yield Thing("port", path.stem, key=path.stem, build=port.get("instance"))

    def close(self) -> None:
        """Nothing is held."""

    def validate(self, request: PortRequest) -> None:
        """Refuse another network than `user`, a given port and another address than QEMU's own."""
        if request.port_id is not None:
            raise NotFound(f"port {request.port_id}: user-mode networking has no ports to give")
        if request.network not in (None, LABEL):
            raise NotFound(
                f"no network {request.network!r}: this hypervisor has only `{LABEL}`;"
                " for others connect to qemu:///system or to OpenStack"
            )
        if request.fixed_ip not in (None, _GUEST):
            raise BadInput(
                f"user-mode networking gives every guest {_GUEST}, not {request.fixed_ip}"
            )
        if request.mac is not None:
            check_mac(request.mac)

    def find_port(self, key: str, request: PortRequest) -> Json | None:
        """The entry of the port with this key, None when there is none."""
        port = _read(self._path(key))
        return None if port is None else _entry(key, port["mac"])

    def create_port(self, key: str, instance: str, hostname: str, request: PortRequest) -> Json:
        """The entry, of type `user`. Raises DriverError when the disk does not take it."""
        found = self.find_port(key, request)
        if found is not None:
            return found
        mac = request.mac or mac_from_key(key)
        path = self._path(key)
        part = path.with_suffix(f".part{os.getpid()}")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            part.write_text(json.dumps({"mac": mac, "instance": instance}))
            part.replace(path)
        except OSError as error:
            raise DriverError(
                f"cannot note port {key}: {error.strerror}", driver="network", code=error.errno
            ) from error
        return _entry(key, mac)

    def delete_port(self, key: str, port: Json) -> None:
        """Forget the port."""
        self._path(key).unlink(missing_ok=True)

    def bind_port(self, key: str, port: Json, host: str) -> Json:
        """Bound wherever its guest runs."""
        return port

    def find_binding(self, key: str, port: Json, host: str) -> Json | None:
        """Bound wherever its guest runs, as long as it is there."""
        return port if self._path(key).exists() else None

    def unbind_port(self, key: str, port: Json, host: str) -> None:
        """Nothing was bound."""

    def port_active(self, port: Json) -> bool:
        """True: there is no such notion."""
        return True

    def _path(self, key: str) -> Path:
        return self._directory / f"{key}.json"


def _read(path: Path) -> Json | None:
    try:
        port: Json = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return port


def _entry(key: str, mac: str) -> Json:
    return {
        "id": key,
        "address": mac,
        "type": "user",
        "network": {
            "id": LABEL,
            "label": LABEL,
            "bridge": None,
            "subnets": [
                {
                    "cidr": str(_CIDR),
                    "gateway": _GATEWAY,
                    "dns": [_DNS],
                    "ips": [{"address": _GUEST, "type": "fixed"}],
                }
            ],
        },
        "details": {},
        "devname": None,
        "active": True,
        "preexisting": False,
    }


def open_user_network(settings: Settings, say: Callable[[str], None]) -> UserNetworkDriver:
    """The driver for `settings`, its ports in `home`."""
    return UserNetworkDriver(settings.home / "ports")
