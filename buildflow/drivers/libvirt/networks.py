"""Ports on libvirt networks: a MAC of their own, and a fixed address by host reservation.

libvirt itself makes the tap and its port object when the guest starts, so that what we make is the
reservation. On a network where libvirt gives out no addresses a port is its MAC and nothing else,
and is written down in the home (see port_record).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import libvirt
from lxml import etree

from buildflow.drivers.libvirt import dhcp
from buildflow.drivers.libvirt.connection import Connection
from buildflow.drivers.libvirt.dhcp import Reservation, Subnet, reservation_name
from buildflow.drivers.macs import check_mac, mac_from_key
from buildflow.drivers.port_record import PortRecord, PortRecords
from buildflow.drivers.protocols import Json, PortRequest, Thing
from buildflow.errors import BadInput, Conflict, DriverError, Exhausted, NotFound, Refused

_DRIVER: Final = "network"
_DEVICES: Final = Path("/sys/class/net")
_ADD: Final = libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST
_REMOVE: Final = libvirt.VIR_NETWORK_UPDATE_COMMAND_DELETE
_SECTION: Final = libvirt.VIR_NETWORK_SECTION_IP_DHCP_HOST
_LIVE: Final = libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE
_CONFIG: Final = libvirt.VIR_NETWORK_UPDATE_AFFECT_CONFIG
_INACTIVE: Final = libvirt.VIR_NETWORK_XML_INACTIVE
# how often another builder may be first before we take it that there is no address for us
_TURNS: Final = 20


class LibvirtNetworkDriver:
    """NetworkDriver for libvirt's networks. `directory` holds the ports without a reservation."""

    name = "libvirt"

    def __init__(self, connection: Connection, directory: Path) -> None:
        self._connection = connection
        self._records = PortRecords(directory)

    def place(self, facts: Json) -> str:
        """The hypervisor that has the networks."""
        return f"the networks of {self._connection.place}"

    def folder(self, kind: str, facts: Json) -> str | None:
        """That of the ports."""
        return str(self._records.directory) if kind == "port" else None

    def check(self) -> None:
        """Open the connection. Raises HostUnusable."""
        self._connection.open()

    def inventory(self) -> Iterable[Thing]:
        """The reservations that carry a key of ours, and the ports that are written down."""
        for key, record in self._records.all():
            detail: Json = {"network": record.network, "mac": record.mac}
            yield Thing("port", key, key=key, build=record.instance, detail=detail)
        with self._connection.calling("list the networks", _DRIVER) as conn:
            for network in conn.listAllNetworks():
                for found in _ours(network):
                    detail = {"network": network.name(), "mac": found.mac, "ip": found.ip}
                    yield Thing("port", str(found.key), key=found.key, detail=detail)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def validate(self, request: PortRequest) -> None:
        """Refuse an unknown or inactive network, a missing bridge, an address that is not of the
        network, reserved or leased, a MAC in use. Raises NotFound, Conflict, BadInput.
        """
        if request.port_id is not None:
            raise NotFound(f"port {request.port_id}: libvirt networks have no ports to give")
        if request.mac is not None:
            check_mac(request.mac)
        with self._connection.calling("look at the network", _DRIVER) as conn:
            network = _lookup(conn, request.network)
            if network is None:
                known = ", ".join(sorted(n.name() for n in conn.listAllNetworks())) or "none"
                raise NotFound(f"no network {request.network!r}; there are: {known}")
            if not network.isActive():
                raise Conflict(
                    f"network {network.name()} is not active: virsh net-start {network.name()}"
                )
            xml = network.XMLDesc(0)
            self._refuse_missing_bridge(network.name(), xml)
            net = dhcp.subnet(xml)
            if request.fixed_ip is not None:
                _refuse_address(request.fixed_ip, network, net)
            if request.mac is not None:
                _refuse_mac(conn, request.mac.lower(), net)

    def find_port(self, key: str, request: PortRequest) -> Json | None:
        """The entry of the port with this key, None when there is none."""
        with self._connection.calling("look for the port", _DRIVER) as conn:
            network = _lookup(conn, request.network)
            if network is None:
                return None
            xml = network.XMLDesc(0)
            net = dhcp.subnet(xml)
            if net is None:
                record = self._records.find(key)
                return None if record is None else _entry(key, record.mac, network, xml)
            found = net.find(key)
            return None if found is None else _entry(key, found.mac, network, xml, net, found.ip)

    def create_port(self, key: str, instance: str, hostname: str, request: PortRequest) -> Json:
        """The entry, of type `network`, with a fixed address where the network has addresses.

        Raises Conflict when the address or MAC asked for is taken, Exhausted when none is free.
        """
        found = self.find_port(key, request)
        if found is not None:
            return found
        with self._connection.calling("make the port", _DRIVER) as conn:
            network = _lookup(conn, request.network)
            if network is None:
                raise Refused(f"network {request.network} has gone", driver=_DRIVER)
            net = dhcp.subnet(network.XMLDesc(0))
            if net is None:
                mac = (request.mac or mac_from_key(key)).lower()
                self._records.keep(key, PortRecord(network.name(), mac, instance))
                return _entry(key, mac, network, network.XMLDesc(0))
            made = _reserve(network, key, hostname, request)
            stale = [_lease_id(lease) for lease in network.DHCPLeases(made.mac)]
            entry = _entry(key, made.mac, network, network.XMLDesc(0), net, made.ip)
            entry["details"]["leases_before"] = stale
            return entry

    def delete_port(self, key: str, port: Json) -> None:
        """Remove the reservation, live and kept, and see that it is gone."""
        self._records.forget(key)
        with self._connection.calling("delete the port", _DRIVER) as conn:
            network = _lookup(conn, port["network"]["id"])
            if network is None:
                return
            for flag, description in _sides(network):
                found = _find(network, description, key)
                if found is not None:
                    network.update(_REMOVE, _SECTION, -1, found.xml, flag)
            if any(_find(network, description, key) for _, description in _sides(network)):
                raise DriverError(f"the reservation of port {key} is still there", driver=_DRIVER)

    def bind_port(self, key: str, port: Json, host: str) -> Json:
        """Bound wherever its guest runs."""
        return port

    def find_binding(self, key: str, port: Json, host: str) -> Json | None:
        """Bound wherever its guest runs, as long as it is there."""
        found = self.find_port(port["id"], PortRequest(port["network"]["id"]))
        return None if found is None else port

    def unbind_port(self, key: str, port: Json, host: str) -> None:
        """Nothing was bound."""

    def port_active(self, port: Json) -> bool:
        """True: there is no such notion."""
        return True

    def _refuse_missing_bridge(self, name: str, xml: str) -> None:
        root = etree.fromstring(xml)
        forward, bridge = root.find("forward"), root.find("bridge")
        if not self._connection.target.local or forward is None or bridge is None:
            return
        device = bridge.get("name", "")
        if forward.get("mode") == "bridge" and not (_DEVICES / device).exists():
            raise NotFound(f"network {name} is on bridge {device}, which this host does not have")


# --- reservations ---------------------------------------------------------------------------------


def _reserve(network: Any, key: str, hostname: str, request: PortRequest) -> Reservation:
    name = reservation_name(hostname, key)
    for _turn in range(_TURNS):
        net = dhcp.subnet(network.XMLDesc(0))
        assert net is not None
        found = net.find(key)
        if found is not None:
            return found
        mac = (request.mac or _free_mac(key, net)).lower()
        wanted = Reservation(mac, request.fixed_ip or str(_free_address(network, key, net)), name)
        flags = _LIVE | (_CONFIG if network.isPersistent() else 0)
        try:
            network.update(_ADD, _SECTION, -1, wanted.xml, flags)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:
                raise
            # somebody reserved the address or the MAC since we looked
            if request.fixed_ip is not None or request.mac is not None:
                raise Conflict(
                    f"{request.fixed_ip or request.mac} was taken on {network.name()} meanwhile"
                ) from error
            continue
        return wanted
    raise Exhausted(
        f"network {network.name()} gave us no address in {_TURNS} turns", driver=_DRIVER
    )


def _free_mac(key: str, net: Subnet) -> str:
    used = {r.mac for r in net.reservations}
    return next(mac for mac in (mac_from_key(key, turn) for turn in range(256)) if mac not in used)


def _free_address(network: Any, key: str, net: Subnet) -> dhcp.Address:
    leased = {
        ipaddress.IPv4Address(lease["ipaddr"])
        for lease in network.DHCPLeases()
        if lease["type"] == libvirt.VIR_IP_ADDR_TYPE_IPV4
    }
    free = next(net.candidates(key, leased), None)
    if free is None:
        raise Exhausted(f"network {network.name()} has no free address left", driver=_DRIVER)
    return free


def _refuse_address(wanted: str, network: Any, net: Subnet | None) -> None:
    if net is None:
        raise BadInput(
            f"libvirt gives out no addresses on {network.name()}: {wanted} is not to be had"
        )
    try:
        address = ipaddress.IPv4Address(wanted)
    except ValueError:
        raise BadInput(f"{wanted!r} is no IPv4 address") from None
    if address not in net.network or address in (
        net.network.network_address,
        net.network.broadcast_address,
    ):
        raise BadInput(f"{wanted} is no address for a guest on {network.name()} ({net.network})")
    taken = {r.ip for r in net.reservations} | {str(net.gateway)}
    taken |= {lease["ipaddr"] for lease in network.DHCPLeases()}
    if wanted in taken:
        raise Conflict(f"address {wanted} is taken on network {network.name()}")


def _refuse_mac(conn: Any, mac: str, net: Subnet | None) -> None:
    """libvirt starts two guests with one MAC without a word, and neither can be reached then."""
    if net is not None and any(r.mac == mac for r in net.reservations):
        raise Conflict(f"MAC {mac} is reserved already")
    for domain in conn.listAllDomains():
        try:
            xml = etree.fromstring(domain.XMLDesc(0))
        except libvirt.libvirtError:
            continue  # gone since it was listed
        for element in xml.findall("./devices/interface/mac"):
            if (element.get("address") or "").lower() == mac:
                raise Conflict(f"MAC {mac} is in use by domain {domain.name()}")


# --- looking at networks --------------------------------------------------------------------------


def _lookup(conn: Any, name: str | None) -> Any:
    """The network by uuid or name, None when there is none."""
    for find in (conn.networkLookupByUUIDString, conn.networkLookupByName):
        try:
            return find(name or "")
        except libvirt.libvirtError as error:
            if error.get_error_code() not in (
                libvirt.VIR_ERR_NO_NETWORK,
                libvirt.VIR_ERR_INVALID_ARG,
            ):
                raise
    return None


def _sides(network: Any) -> list[tuple[int, int]]:
    """The running network and the kept one: (flag of an update, flag of a description)."""
    sides = []
    if network.isActive():
        sides.append((_LIVE, 0))
    if network.isPersistent():
        sides.append((_CONFIG, _INACTIVE))
    return sides


def _find(network: Any, description: int, key: str) -> Reservation | None:
    net = dhcp.subnet(network.XMLDesc(description))
    return None if net is None else net.find(key)


def _ours(network: Any) -> list[Reservation]:
    """The reservations with a key, of the running and the kept network, each once."""
    found: dict[str, Reservation] = {}
    for _, description in _sides(network):
        net = dhcp.subnet(network.XMLDesc(description))
        for reservation in net.reservations if net is not None else ():
            if reservation.key is not None:
                found.setdefault(reservation.key, reservation)
    return list(found.values())


def _lease_id(lease: Json) -> str:
    return f"{lease['ipaddr']}@{lease['expirytime']}"


def _entry(
    key: str, mac: str, network: Any, xml: str, net: Subnet | None = None, ip: str | None = None
) -> Json:
    bridge = etree.fromstring(xml).find("bridge")
    mtu = etree.fromstring(xml).find("mtu")
    subnets = []
    if net is not None and ip is not None:
        gateway = str(net.gateway)
        subnets = [
            {
                "cidr": str(net.network),
                "gateway": gateway,
                "dns": [gateway],
                "ips": [{"address": ip, "type": "fixed"}],
            }
        ]
    return {
        "id": key,
        "address": mac,
        "type": "network",
        "network": {
            "id": network.UUIDString(),
            "label": network.name(),
            "bridge": None if bridge is None else bridge.get("name"),
            "mtu": None if mtu is None else int(mtu.get("size", "0")) or None,
            "subnets": subnets,
        },
        "details": {},
        "devname": None,
        "active": True,
        "preexisting": False,
    }
