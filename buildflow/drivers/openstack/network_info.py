"""Entries of network_info, made from what Neutron says of a port (docs/data.md).

The shape is Nova's (nova/network/model.py: VIF), cut to what a hypervisor needs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from buildflow.drivers.openstack import vif
from buildflow.drivers.protocols import Json


def entry(port: Any, network: Any, subnets: Iterable[Any], *, preexisting: bool) -> Json:
    """The entry of a port that openstacksdk has read, with its network and that one's subnets."""
    by_id = {subnet.id: subnet for subnet in subnets}
    addresses: dict[str, list[Json]] = {}
    for fixed in port.fixed_ips or []:
        addresses.setdefault(fixed["subnet_id"], []).append(
            {"address": fixed["ip_address"], "type": "fixed"}
        )
    made: Json = {
        "id": port.id,
        "address": port.mac_address,
        "network": {
            "id": port.network_id,
            "label": network.name,
            "bridge": None,
            "mtu": network.mtu,
            "subnets": [
                {
                    "cidr": by_id[subnet].cidr,
                    "gateway": by_id[subnet].gateway_ip,
                    "dns": list(by_id[subnet].dns_nameservers or []),
                    "ips": ips,
                }
                for subnet, ips in addresses.items()
                if subnet in by_id
            ],
        },
        "devname": vif.devname(port.id),
        "instance": port.device_id or None,
        "preexisting": preexisting,
    }
    return with_binding(made, port)


def with_binding(made: Json, port: Any) -> Json:
    """`made` with what the port's binding says now; unsupported types are left `unbound`."""
    details = dict(port.binding_vif_details or {})
    row = vif.find(str(port.binding_vif_type or vif.UNBOUND), details)
    bridge = vif.bridge_of(row, details, port.network_id, port.id) if row else None
    return {
        **made,
        "type": row.becomes if row else vif.UNBOUND,
        "plugged_by": row.plugged_by if row else None,
        "host": port.binding_host_id or None,
        "details": details,
        "active": port.status == "ACTIVE",
        "network": {**made["network"], "bridge": bridge},
    }
