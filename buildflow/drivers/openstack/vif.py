"""How a port is plugged on the host, by Neutron's vif_type (nova/network/os_vif_util.py).

One table says which types are supported, who plugs each (libvirt as it starts the domain, os-vif
before it, or the compute driver itself) and what the type is called in network_info. A type that is
not in it is refused as soon as Neutron names it, before anything is made for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from buildflow.drivers.protocols import Json
from buildflow.errors import DriverError, HostUnusable, Refused

Plugger = Literal["libvirt", "os-vif", "host"]

UNBOUND: Final = "unbound"
BINDING_FAILED: Final = "binding_failed"


@dataclass(frozen=True, slots=True)
class VifType:
    """One supported way of plugging. `hybrid` tells Open vSwitch ports behind a Linux bridge
    (`ovs_hybrid_plug`) from plain ones; `becomes` is the entry's `type`.
    """

    vif_type: str
    hybrid: bool
    plugged_by: Plugger
    becomes: str
    why: str


SUPPORTED: Final[tuple[VifType, ...]] = (
    VifType("bridge", False, "libvirt", "bridge",
            "libvirt puts the domain's tap into a Linux bridge that is there"),
    VifType("ovs", False, "libvirt", "ovs",
            "libvirt adds the domain's tap to the Open vSwitch bridge, with the port's id"),
    VifType("ovs", True, "os-vif", "bridge",
            "os-vif joins a Linux bridge, where iptables can filter, to the Open vSwitch bridge"),
    VifType("tap", False, "host", "tap",
            "a tap that the host routes (Calico); it must be there before the domain starts"),
)  # fmt: skip

VNIC_TYPES: Final = frozenset({"normal"})
"""binding:vnic_type of ports that these can plug; the others want hardware of their own."""

_NIC_NAME_LENGTH: Final = 14


def find(vif_type: str, details: Json) -> VifType | None:
    """The table's row for what Neutron says of a bound port."""
    hybrid = bool(details.get("ovs_hybrid_plug"))
    for row in SUPPORTED:
        if row.vif_type == vif_type and (row.vif_type != "ovs" or row.hybrid == hybrid):
            return row
    return None


def supported(vif_type: str, details: Json, port_id: str) -> VifType:
    """The table's row; raises Refused where there is none."""
    row = find(vif_type, details)
    if row is None:
        known = ", ".join(dict.fromkeys(row.vif_type for row in SUPPORTED))
        raise Refused(
            f"port {port_id} has vif_type {vif_type!r}, which cannot be plugged here;"
            f" supported are {known}",
            driver="network",
        )
    return row


def devname(port_id: str) -> str:
    """Name of the tap of a port, as every Neutron agent expects it."""
    return ("tap" + port_id)[:_NIC_NAME_LENGTH]


def bridge_of(row: VifType, details: Json, network_id: str, port_id: str) -> str | None:
    """The bridge that the domain's tap goes into."""
    if row.plugged_by == "os-vif":
        return ("qbr" + port_id)[:_NIC_NAME_LENGTH]
    if row.vif_type == "bridge":
        return str(details.get("bridge_name") or ("brq" + network_id)[:_NIC_NAME_LENGTH])
    if row.vif_type == "ovs":
        return str(details.get("bridge_name") or "br-int")
    return None


# --- by os-vif -----------------------------------------------------------------------------------


def is_plugged(vif: Json) -> bool:
    """Whether the Linux bridge that os-vif makes for an entry of network_info is there."""
    return Path("/sys/class/net", vif["network"]["bridge"]).exists()


def plug(vif: Json) -> None:
    """Have os-vif plug an entry whose `plugged_by` is `os-vif`. Needs the right to change networks.

    Raises HostUnusable where os-vif is missing.
    """
    os_vif, objects = _load_os_vif()
    _call(vif, lambda: os_vif.plug(_os_vif_object(objects, vif), _instance(objects, vif)))


def unplug(vif: Json) -> None:
    """Have os-vif take it away again; nothing to do when it is not there."""
    if is_plugged(vif):
        os_vif, objects = _load_os_vif()
        _call(vif, lambda: os_vif.unplug(_os_vif_object(objects, vif), _instance(objects, vif)))


def _load_os_vif() -> tuple[Any, Any]:
    try:
        import os_vif
        from os_vif import objects
    except ImportError:
        raise HostUnusable(
            "this port is plugged by os-vif, which is not installed: pip install os-vif"
        ) from None
    os_vif.initialize()
    return os_vif, objects


def _call(vif: Json, call: Any) -> None:
    from os_vif import exception

    try:
        call()
    except exception.ExceptionBase as error:
        text = " ".join(str(error).split())
        raise DriverError(
            f"os-vif cannot plug port {vif['id']}: {text}", driver="network"
        ) from None


def _os_vif_object(objects: Any, vif: Json) -> Any:
    """The hybrid port in os-vif's words (nova/network/os_vif_util.py: _nova_to_osvif_vif_ovs)."""
    details = vif["details"]
    network = objects.network.Network(
        id=vif["network"]["id"],
        label=vif["network"]["label"],
        bridge=str(details.get("bridge_name") or "br-int"),
        subnets=objects.subnet.SubnetList(objects=[]),
    )
    if vif["network"].get("mtu"):
        network.mtu = int(vif["network"]["mtu"])
    return objects.vif.VIFBridge(
        id=vif["id"],
        address=vif["address"],
        network=network,
        plugin="ovs",
        vif_name=vif["devname"],
        bridge_name=vif["network"]["bridge"],
        has_traffic_filtering=bool(details.get("port_filter")),
        preserve_on_delete=bool(vif["preexisting"]),
        port_profile=objects.vif.VIFPortProfileOpenVSwitch(
            interface_id=vif["id"], datapath_type=str(details.get("datapath_type") or "system")
        ),
    )


def _instance(objects: Any, vif: Json) -> Any:
    return objects.instance_info.InstanceInfo(uuid=vif["instance"], name=vif["instance"])
