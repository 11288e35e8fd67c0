"""Networks that need no service: QEMU's own NAT (`user`) and bridges of the host (`bridge:NAME`).

On `user` every guest sees the same private network: it has 10.0.2.15, its gateway and DNS are QEMU
itself, and nobody reaches it from outside; no privilege is needed. On a bridge the addresses are
whatever answers there; libvirt makes the tap when the guest starts, and takes it away.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from buildflow.config import Settings
from buildflow.drivers.macs import check_mac, mac_from_key
from buildflow.drivers.port_record import PortRecord, PortRecords
from buildflow.drivers.protocols import Json, PortRequest, Thing
from buildflow.errors import BadInput, Conflict, NotFound

LABEL: Final = "user"
BRIDGE: Final = "bridge:"
_CIDR: Final = ipaddress.ip_network("10.0.2.0/24")
_GATEWAY: Final = "10.0.2.2"
_DNS: Final = "10.0.2.3"
_GUEST: Final = "10.0.2.15"
_DEVICES: Final = Path("/sys/class/net")


def serves(network: str | None) -> bool:
    """Whether a network of this name is one of this driver's."""
    return network is not None and (network == LABEL or network.startswith(BRIDGE))


class UserNetworkDriver:
    """NetworkDriver for `qemu:///embed` and `qemu:///session`. `directory` holds the ports."""

    name = LABEL

    def __init__(self, directory: Path) -> None:
        self._records = PortRecords(directory)

    def folder(self, kind: str, facts: Json) -> str | None:
        """That of the ports."""
        return str(self._records.directory) if kind == "port" else None

    def check(self) -> None:
        """QEMU and the kernel bring all of it."""

    def inventory(self) -> Iterable[Thing]:
        """The ports that were made and not deleted."""
        for key, record in self._records.all():
            detail = {"network": record.network, "mac": record.mac}
            yield Thing("port", key, key=key, build=record.instance, detail=detail)

    def close(self) -> None:
        """Nothing is held."""

    def validate(self, request: PortRequest) -> None:
        """Refuse an unknown network, a missing bridge, a given port, an address that cannot be
        had, a MAC in use. Raises NotFound, BadInput, Conflict.
        """
        if request.port_id is not None:
            raise NotFound(f"port {request.port_id}: there are no ports to give on this hypervisor")
        network = request.network or LABEL
        if network.startswith(BRIDGE):
            self._validate_bridge(network.removeprefix(BRIDGE), request)
        elif network != LABEL:
            raise NotFound(
                f"no network {network!r}: this hypervisor has `{LABEL}` and, for a bridge of this"
                f" host, `{BRIDGE}NAME`; for others connect to qemu:///system or to OpenStack"
            )
        elif request.fixed_ip not in (None, _GUEST):
            raise BadInput(f"network {LABEL} gives every guest {_GUEST}, not {request.fixed_ip}")
        if request.mac is not None:
            check_mac(request.mac)

    def find_port(self, key: str, request: PortRequest) -> Json | None:
        """The entry of the port with this key, None when there is none."""
        record = self._records.find(key)
        return None if record is None else _entry(key, record)

    def create_port(self, key: str, instance: str, hostname: str, request: PortRequest) -> Json:
        """The entry, of type `user` or `bridge`. Raises DriverError."""
        record = self._records.find(key)
        if record is None:
            mac = (request.mac or mac_from_key(key)).lower()
            record = PortRecord(request.network or LABEL, mac, instance)
            self._records.keep(key, record)
        return _entry(key, record)

    def delete_port(self, key: str, port: Json) -> None:
        """Forget the port."""
        self._records.forget(key)

    def bind_port(self, key: str, port: Json, host: str) -> Json:
        """Bound wherever its guest runs."""
        return port

    def find_binding(self, key: str, port: Json, host: str) -> Json | None:
        """Bound wherever its guest runs, as long as it is there."""
        return port if self._records.find(port["id"]) is not None else None

    def unbind_port(self, key: str, port: Json, host: str) -> None:
        """Nothing was bound."""

    def port_active(self, port: Json) -> bool:
        """True: there is no such notion."""
        return True

    def _validate_bridge(self, bridge: str, request: PortRequest) -> None:
        if not bridge or "/" in bridge or not (_DEVICES / bridge / "bridge").is_dir():
            raise NotFound(
                f"no bridge {bridge!r} on this host; `ip link show type bridge` lists them"
            )
        if request.fixed_ip is not None:
            raise BadInput(
                f"nobody gives out addresses on bridge {bridge} for us: {request.fixed_ip} cannot"
                " be promised"
            )
        taken = {record.mac for _, record in self._records.all() if record.network != LABEL}
        if request.mac is not None and request.mac.lower() in taken:
            raise Conflict(f"MAC {request.mac} is in use by another port on a bridge")


def _entry(key: str, record: PortRecord) -> Json:
    bridge = record.network.removeprefix(BRIDGE) if record.network != LABEL else None
    subnet = {
        "cidr": str(_CIDR),
        "gateway": _GATEWAY,
        "dns": [_DNS],
        "ips": [{"address": _GUEST, "type": "fixed"}],
    }
    return {
        "id": key,
        "address": record.mac,
        "type": "user" if bridge is None else "bridge",
        "network": {
            "id": record.network,
            "label": record.network,
            "bridge": bridge,
            "subnets": [subnet] if bridge is None else [],
        },
        "details": {},
        "devname": None,
        "active": True,
        "preexisting": False,
    }


def open_user_network(settings: Settings, say: Callable[[str], None]) -> UserNetworkDriver:
    """The driver for `settings`, its ports in `home`."""
    return UserNetworkDriver(settings.home / "ports")
