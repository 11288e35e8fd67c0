"""A network_info entry as an `<interface>` (nova/virt/libvirt/vif.py and designer.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lxml import etree

from buildflow.drivers.libvirt.elements import add
from buildflow.drivers.protocols import Json
from buildflow.errors import Refused

Writer = Callable[[etree._Element, Json], None]


def _user(element: etree._Element, vif: Json) -> None:
    element.set("type", "user")


def _network(element: etree._Element, vif: Json) -> None:
    element.set("type", "network")
    add(element, "source", network=vif["network"]["label"])
    _target(element, vif)


def _bridge(element: etree._Element, vif: Json) -> None:
    element.set("type", "bridge")
    add(element, "source", bridge=vif["network"]["bridge"])
    _target(element, vif)


def _ovs(element: etree._Element, vif: Json) -> None:
    element.set("type", "bridge")
    add(element, "source", bridge=vif["network"]["bridge"])
    port = add(element, "virtualport", type="openvswitch")
    add(port, "parameters", interfaceid=vif.get("ovs_interfaceid") or vif["id"])
    _target(element, vif)


def _tap(element: etree._Element, vif: Json) -> None:
    element.set("type", "ethernet")
    add(element, "target", dev=vif["devname"], managed="no")


def _target(element: etree._Element, vif: Json) -> None:
    if vif.get("devname"):
        add(element, "target", dev=vif["devname"])


# vif type -> how it is written; what is not here is refused before anything is done
WRITERS: Final[dict[str, Writer]] = {
    "user": _user,
    "network": _network,
    "bridge": _bridge,
    "ovs": _ovs,
    "tap": _tap,
}


def check_type(vif: Json) -> None:
    """Raise Refused for a vif type that this hypervisor cannot plug."""
    if vif.get("type") not in WRITERS:
        raise Refused(
            f"port {vif.get('id')} has vif type {vif.get('type')!r}, which is not supported here;"
            f" supported: {', '.join(WRITERS)}",
            driver="compute",
        )


def interface(vif: Json) -> etree._Element:
    """The `<interface>` of one network_info entry. Raises Refused for an unsupported type."""
    check_type(vif)
    element = etree.Element("interface")
    add(element, "mac", address=vif["address"])
    add(element, "model", type=vif.get("model") or "virtio")
    WRITERS[vif["type"]](element, vif)
    mtu = (vif.get("network") or {}).get("mtu")
    if mtu and vif["type"] != "user":
        add(element, "mtu", size=str(mtu))
    return element
