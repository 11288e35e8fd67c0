"""Which addresses a guest is seen to have: by leases of DHCP and by the guest's own agent.

On a libvirt network a lease proves that the guest's own DHCP client has spoken, as long as it is
not the lease of a former guest with the same MAC, which is told by its expiry: what stood there
when the port was made does not count. A reservation is no lease. On every kind of network the QEMU
guest agent tells, if the guest runs one; on user-mode networks and bridges nobody else does.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Any, Final

import libvirt

from buildflow.drivers.libvirt.connection import Connection
from buildflow.drivers.protocols import Json

# what libvirt says when there is no agent to answer: not there, not yet, not any more
_NO_AGENT: Final = (
    libvirt.VIR_ERR_AGENT_UNRESPONSIVE,
    libvirt.VIR_ERR_AGENT_UNSYNCED,
    libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
    libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
    libvirt.VIR_ERR_OPERATION_INVALID,
    libvirt.VIR_ERR_NO_SUPPORT,
    libvirt.VIR_ERR_NO_DOMAIN,
)


def seen(connection: Connection, uuid: str, network_info: Sequence[Json]) -> list[str]:
    """Addresses that the guest `uuid` has on these ports now, each once; none as long as nobody
    tells. What comes from the guest is taken for addresses and nothing else.
    """
    found: dict[str, None] = {}
    with connection.calling("ask for addresses") as conn:
        for vif in network_info:
            if vif["type"] == "network":
                found.update(dict.fromkeys(_leases(conn, vif)))
        found.update(dict.fromkeys(_told(conn, uuid, {vif["address"] for vif in network_info})))
    return list(found)


def _leases(conn: Any, vif: Json) -> list[str]:
    try:
        leases = conn.networkLookupByName(vif["network"]["label"]).DHCPLeases(vif["address"])
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_NETWORK:
            return []
        raise
    before = vif["details"].get("leases_before", ())
    return [
        lease["ipaddr"]
        for lease in leases
        if f"{lease['ipaddr']}@{lease['expirytime']}" not in before
    ]


def _told(conn: Any, uuid: str, macs: set[str]) -> Iterator[str]:
    try:
        # never another source: in embedded mode they fail, after seconds
        nics = conn.lookupByUUIDString(uuid).interfaceAddresses(
            libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT
        )
    except libvirt.libvirtError as error:
        if error.get_error_code() in _NO_AGENT:
            return
        raise
    for nic in nics.values():
        if (nic.get("hwaddr") or "").lower() not in macs:
            continue
        for entry in nic.get("addrs") or ():
            try:
                address = ipaddress.ip_address(entry["addr"])
            except ValueError:
                continue
            if not (address.is_link_local or address.is_loopback):
                yield str(address)
