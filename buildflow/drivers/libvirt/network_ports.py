"""libvirt's own port objects, which a libvirtd killed in mid-start leaves behind.

libvirt makes one for each NIC on a network when a guest starts, and removes it when the guest
stops; nobody but us removes one whose guest never came up.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import libvirt
from lxml import etree

from buildflow.drivers.protocols import Thing


def of_domain(conn: Any, uuid: str) -> list[Any]:
    """The ports that the domain `uuid` owns."""
    return [port for port, _, owner in _all(conn) if owner == uuid]


def things(conn: Any) -> Iterator[Thing]:
    """Kind `network_port`: every port, with its owner's uuid in `detail`."""
    for port, network, owner in _all(conn):
        yield Thing(
            "network_port",
            port.UUIDString(),
            key=owner,
            detail={"network": network, "domain": owner},
        )


def _all(conn: Any) -> Iterator[tuple[Any, str, str | None]]:
    for network in conn.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE):
        try:
            ports = network.listAllPorts()
        except libvirt.libvirtError:
            continue  # stopped since it was listed, and its ports with it
        for port in ports:
            try:
                owner = etree.fromstring(port.XMLDesc(0)).findtext("./owner/uuid")
            except libvirt.libvirtError:
                continue
            yield port, network.name(), owner
