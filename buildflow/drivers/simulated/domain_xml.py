"""A guest as XML and back: libvirt's shape, cut down to what a simulated hypervisor looks at.

Written by hand and not by an XML library, because exploration writes it fifty thousand times.
"""

from __future__ import annotations

import re
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from lxml import etree

from buildflow.drivers.protocols import GuestSpec, Json
from buildflow.drivers.simulated.export import PORTAL
from buildflow.errors import BadInput, Refused

VIF_TYPES: Final = frozenset({"user", "tap", "bridge", "ovs", "network"})
_NAMESPACE: Final = "urn:buildflow:domain:1"
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,62})")
_XML_ERROR: Final = 27
_XML_DETAIL: Final = 35


def check_name(name: str) -> None:
    """Raise BadInput for a name that a hypervisor would not take."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise BadInput(f"{name[:70]!r} cannot name a machine: use letters, digits, '.', '_' or '-'")


def check_vif(vif: Json) -> None:
    """Raise Refused for a port that no simulated host can plug."""
    if vif.get("type") not in VIF_TYPES:
        raise Refused(
            f"a port of type {vif.get('type')!r} cannot be plugged here", driver="compute"
        )


def to_xml(spec: GuestSpec) -> str:
    """The domain's XML."""
    check_name(spec.name)
    disks = []
    if spec.root_disk is not None:
        disks.append(
            f'<disk type="file" device="disk"><source file={quoteattr(spec.root_disk)}/>'
            '<target dev="vda" bus="virtio"/></disk>'
        )
    disks += [
        _volume_xml(mapping, spec) for mapping in spec.block_device_info["block_device_mapping"]
    ]
    vifs = [_vif_xml(vif) for vif in spec.network_info]
    facts = {"build": spec.uuid, **spec.metadata}
    build = facts.pop("build")
    metadata = "".join(
        f"<b:fact name={quoteattr(name)}>{escape(value)}</b:fact>" for name, value in facts.items()
    )
    return (
        f'<domain type="{spec.virt_type}"><uuid>{spec.uuid}</uuid><name>{spec.name}</name>'
        f'<memory unit="MiB">{spec.memory_mib}</memory><vcpu>{spec.vcpus}</vcpu>'
        f'<metadata><b:instance xmlns:b="{_NAMESPACE}"><b:build>{escape(build)}</b:build>'
        f"{metadata}</b:instance></metadata><devices>{''.join(disks)}{''.join(vifs)}"
        f'<serial type="pty"><log file={quoteattr(spec.directory + "/console.log")}/></serial>'
        "</devices></domain>"
    )


def from_xml(xml: str) -> Json:
    """What a hypervisor reads out of it, as the first half of a domain's record. Raises Refused."""
    try:
        root = etree.fromstring(xml.encode(), parser=etree.XMLParser(resolve_entities=False))
    except etree.XMLSyntaxError as error:
        raise Refused(f"XML error: {error}", driver="compute", code=_XML_DETAIL) from None
    try:
        memory: Any = root.find("memory")
        uuid, name = _text(root, "uuid"), _text(root, "name")
        shift = {"MiB": 0, "KiB": 10}[memory.get("unit", "KiB")]
        facts: Json = {
            "uuid": uuid,
            "name": name,
            "memory_mib": int(memory.text) >> shift,
            "vcpus": int(_text(root, "vcpu")),
        }
    except (AttributeError, KeyError, TypeError, ValueError):
        raise Refused(
            "XML error: a domain needs uuid, name, memory and vcpu",
            driver="compute",
            code=_XML_ERROR,
        ) from None
    facts["build"] = root.findtext(f"metadata/{{{_NAMESPACE}}}instance/{{{_NAMESPACE}}}build")
    facts |= {"disks": [], "volumes": [], "vifs": [], "directory": ""}
    devices = root.find("devices")
    for device in () if devices is None else devices:
        if device.tag == "disk":
            _read_disk(device, facts)
        elif device.tag == "interface":
            facts["vifs"].append(_vif_of(device))
        elif device.tag == "serial":
            log = device.find("log")
            if log is not None:
                facts["directory"] = log.get("file", "").rpartition("/")[0]
    return facts


def _read_disk(disk: Any, facts: Json) -> None:
    source = disk.find("source")
    path = None if source is None else source.get("file")
    if path is not None:
        facts["disks"].append(path)
        return
    volume = _volume_of(disk, source)
    if volume is not None:
        facts["volumes"].append(volume)


def _text(root: Any, tag: str) -> str:
    text = root.findtext(tag)
    if not text:
        raise ValueError(tag)
    return str(text)


def _volume_xml(mapping: Json, spec: GuestSpec) -> str:
    info = mapping["connection_info"]
    data = info["data"]
    volume_id = str(info.get("serial") or data.get("volume_id") or "")
    target = str(mapping["mount_device"]).removeprefix("/dev/")
    end = (
        f'<target dev={quoteattr(target)} bus="virtio"/><serial>{escape(volume_id)}</serial></disk>'
    )
    path = data.get("device_path")
    if path:
        kind, attribute = ("block", "dev") if path.startswith("/dev/") else ("file", "file")
        return f'<disk type="{kind}" device="disk"><source {attribute}={quoteattr(path)}/>{end}'
    host, _, port = str(data.get("target_portal", "")).rpartition(":")
    secret = spec.secrets.get(volume_id)
    auth = ""
    if secret is not None:
        auth = (
            f"<auth username={quoteattr(str(data.get('auth_username')))}>"
            f'<secret type="iscsi" uuid={quoteattr(secret)}/></auth>'
        )
    return (
        f'<disk type="network" device="disk">{auth}<source'
        f' protocol="{info["driver_volume_type"]}"'
        f" name={quoteattr(str(data.get('target_iqn', data.get('name'))))}>"
        f'<host name="{host}" port="{port}"/></source>{end}'
    )


def _volume_of(disk: Any, source: Any) -> Json | None:
    """`id`, whether the host has it as a `device`, and the `secret`; None for what is not ours."""
    if source is None:
        return None
    device = source.get("dev")
    portal = next((f"{host.get('name')}:{host.get('port')}" for host in source), "")
    if (device is None and portal != PORTAL) or (device is not None and PORTAL not in device):
        return None
    secret = disk.find("auth/secret")
    return {
        "id": disk.findtext("serial"),
        "device": device,
        "secret": None if secret is None else secret.get("uuid"),
    }


def _vif_xml(vif: Json) -> str:
    check_vif(vif)
    kind = vif["type"]
    source = ""
    if kind in ("bridge", "ovs"):
        source = f"<source bridge={quoteattr(str(vif['network']['bridge']))}/>"
    elif kind == "network":
        source = f"<source network={quoteattr(vif['network']['label'])}/>"
    target = f"<target dev={quoteattr(vif['devname'])}/>" if vif.get("devname") else ""
    return (
        f'<interface type="{_INTERFACES.get(kind, kind)}"><mac address="{vif["address"]}"/>'
        f"{source}{target}<alias name={quoteattr('ua-' + vif['id'])}/></interface>"
    )


_INTERFACES: Final = {"tap": "ethernet", "ovs": "bridge"}


def _vif_of(interface: Any) -> Json:
    """`id` of the port, and the `tap`, `bridge` or `network` that the host must have."""
    kind = interface.get("type")
    source, target = interface.find("source"), interface.find("target")
    alias = interface.find("alias")
    return {
        "id": "" if alias is None else alias.get("name", "").removeprefix("ua-"),
        "tap": target.get("dev") if kind == "ethernet" and target is not None else None,
        "bridge": source.get("bridge") if kind == "bridge" and source is not None else None,
        "network": source.get("network") if kind == "network" and source is not None else None,
    }
