"""Host reservations of a libvirt network: how a port gets a fixed address there.

A reservation ties a MAC, an address and a name together. Our key stands at the end of the name,
which is how a reservation is found again, and a stray one recognised. libvirt refuses a second
reservation of a MAC, address or name, so that of two builders who choose the same address at once
exactly one gets it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from lxml import etree

Address = ipaddress.IPv4Address

_TAG: Final = "-bf-"
_NAME: Final = re.compile(r"(?P<host>.*)-bf-(?P<key>[0-9a-f]{32})")
# a DNS label has at most 63 characters
_HOST_LENGTH: Final = 63 - len(_TAG) - 32


@dataclass(frozen=True, slots=True)
class Reservation:
    """One `<host>` of a network's DHCP section. `key` is None for one that is not ours."""

    mac: str
    ip: str
    name: str

    @property
    def key(self) -> str | None:
        """The key of the port that it is, as a uuid."""
        found = _NAME.fullmatch(self.name)
        if found is None:
            return None
        digits = found["key"]
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    @property
    def xml(self) -> str:
        """As libvirt's network update wants it."""
        host = etree.Element("host", attrib={"mac": self.mac, "name": self.name, "ip": self.ip})
        return etree.tostring(host, encoding="unicode")


def reservation_name(hostname: str, key: str) -> str:
    """The name of the reservation for the port `key` of a machine called `hostname`."""
    host = re.sub(r"[^a-z0-9-]", "-", hostname.lower()).strip("-")[:_HOST_LENGTH]
    return f"{host or 'vm'}{_TAG}{key.replace('-', '')}"


@dataclass(frozen=True, slots=True)
class Subnet:
    """The IPv4 side of a libvirt network that gives out addresses."""

    network: ipaddress.IPv4Network
    gateway: Address
    ranges: tuple[tuple[Address, Address], ...]
    reservations: tuple[Reservation, ...]

    def find(self, key: str) -> Reservation | None:
        """The reservation with this key, None when there is none."""
        return next((r for r in self.reservations if r.key == key), None)

    def candidates(self, key: str, taken: set[Address]) -> Iterator[Address]:
        """The free addresses of the ranges, beginning at a place that the key decides, so that
        builders at once seldom meet. `taken` are addresses in use besides reservations.
        """
        used = taken | {self.gateway} | {ipaddress.IPv4Address(r.ip) for r in self.reservations}
        total = sum(int(last) - int(first) + 1 for first, last in self.ranges)
        begin = int(key.replace("-", ""), 16) % total if total else 0
        for turn in range(total):
            address = self._nth((begin + turn) % total)
            if address not in used:
                yield address

    def _nth(self, index: int) -> Address:
        for first, last in self.ranges:
            size = int(last) - int(first) + 1
            if index < size:
                return first + index
            index -= size
        raise IndexError(index)


def subnet(network_xml: str) -> Subnet | None:
    """The subnet of a network's XML, None when libvirt gives out no IPv4 addresses there."""
    root = etree.fromstring(network_xml)
    for ip in root.findall("ip"):
        if ip.get("family", "ipv4") != "ipv4" or (dhcp := ip.find("dhcp")) is None:
            continue
        gateway = ipaddress.IPv4Address(ip.get("address", ""))
        mask = ip.get("prefix") or ip.get("netmask")
        return Subnet(
            network=ipaddress.IPv4Network(f"{gateway}/{mask}", strict=False),
            gateway=gateway,
            ranges=tuple(
                (
                    ipaddress.IPv4Address(span.get("start", "")),
                    ipaddress.IPv4Address(span.get("end", "")),
                )
                for span in dhcp.findall("range")
            ),
            reservations=tuple(
                Reservation(
                    (host.get("mac") or "").lower(), host.get("ip") or "", host.get("name") or ""
                )
                for host in dhcp.findall("host")
                if host.get("ip")
            ),
        )
    return None
