"""A guest as libvirt domain XML, in Nova's element order (nova/virt/libvirt/config.py).

Pure: what is not in the GuestSpec or the HostShape is not in the XML, and neither ever holds a
secret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from lxml import etree

from buildflow.drivers.libvirt import disk_xml, interface_xml
from buildflow.drivers.libvirt.elements import add
from buildflow.drivers.protocols import GuestSpec
from buildflow.errors import BadInput

NAMESPACE: Final = "urn:buildflow:domain:1"
QEMU_NAMESPACE: Final = "http://libvirt.org/schemas/domain/qemu/1.0"
PREFIX: Final = "buildflow"

# A domain's name is a file's name for libvirt, an argument for QEMU and a host name for the guest.
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,62})")


@dataclass(frozen=True, slots=True)
class HostShape:
    """What the XML must know of the host it is for.

    `arch` is the guests' architecture; `secret_files` a directory of secrets that QEMU reads itself
    (embedded mode), None where libvirt hands them over; `agent_socket` the path of the guest
    agent's socket, None where libvirt chooses one; `console_log` whether the console is logged to a
    file in the guest's directory; `initiator` the iSCSI name under which QEMU logs in; `backing`
    path and format of the image below the root disk, where libvirt is to leave that as it is.
    """

    arch: str = "x86_64"
    secret_files: str | None = None
    agent_socket: str | None = None
    console_log: bool = True
    initiator: str | None = None
    backing: tuple[str, str] | None = None


_MACHINES: Final = {
    "x86_64": "pc",
    "aarch64": "virt",
    "ppc64le": "pseries",
    "s390x": "s390-ccw-virtio",
}


def check_name(name: str) -> None:
    """Raise BadInput for a name that libvirt, QEMU or a guest could not carry."""
    if not _NAME.fullmatch(name) or ".." in name:
        shown = name if len(name) <= 70 else name[:67] + "..."
        raise BadInput(
            f"{shown!r} cannot name a machine: use 1 to 63 letters, digits, '.', '_' or '-',"
            " beginning with a letter or digit and without '..'"
        )


def domain_xml(spec: GuestSpec, shape: HostShape) -> str:
    """The domain's XML. Raises BadInput for a bad name, Refused for a disk or NIC we cannot do."""
    check_name(spec.name)
    disks = disk_xml.plan(spec, shape.secret_files, shape.initiator, shape.backing)
    nsmap = {"qemu": QEMU_NAMESPACE} if disks.qemu_arguments else None
    domain = etree.Element("domain", nsmap=nsmap, attrib={"type": spec.virt_type})
    add(domain, "uuid", spec.uuid)
    add(domain, "name", spec.name)
    add(domain, "memory", str(spec.memory_mib * 1024), unit="KiB")
    add(domain, "vcpu", str(spec.vcpus))
    _metadata(domain, spec)
    _sysinfo(domain, spec)
    os = add(domain, "os")
    add(os, "type", "hvm", arch=shape.arch, machine=_MACHINES.get(shape.arch))
    if shape.arch == "x86_64":
        add(os, "smbios", mode="sysinfo")
        features = add(domain, "features")
        add(features, "acpi")
        add(features, "apic")
    _clock(domain, spec.virt_type)
    if spec.virt_type == "kvm":
        cpu = add(domain, "cpu", mode="host-model")
        add(cpu, "topology", sockets=str(spec.vcpus), cores="1", threads="1")
    devices = add(domain, "devices")
    devices.extend(disks.elements)
    devices.extend(interface_xml.interface(vif) for vif in spec.network_info)
    _characters(devices, spec, shape)
    rng = add(devices, "rng", model="virtio")
    add(rng, "backend", "/dev/urandom", model="random")
    add(devices, "controller", type="usb", model="none")
    balloon = add(devices, "memballoon", model="virtio")
    add(balloon, "stats", period="10")
    if shape.arch == "x86_64":
        add(devices, "panic", model="isa")  # a guest whose kernel panics is reported as crashed
    if disks.qemu_arguments:
        command = etree.SubElement(domain, f"{{{QEMU_NAMESPACE}}}commandline")
        for value in disks.qemu_arguments:
            etree.SubElement(command, f"{{{QEMU_NAMESPACE}}}arg", attrib={"value": value})
    return etree.tostring(domain, pretty_print=True, encoding="unicode")


def build_of(metadata: str) -> str | None:
    """The build named in our metadata element, None when `metadata` is not ours."""
    try:
        element = etree.fromstring(metadata, parser=etree.XMLParser(resolve_entities=False))
    except etree.XMLSyntaxError:
        return None
    # libvirt hands the element back without its prefix, but in its namespace
    return element.findtext(f"{{{NAMESPACE}}}build") or element.findtext("build")


def _metadata(domain: etree._Element, spec: GuestSpec) -> None:
    metadata = add(domain, "metadata")
    instance = etree.SubElement(metadata, f"{{{NAMESPACE}}}instance", nsmap={PREFIX: NAMESPACE})
    # a build and its instance share an id unless the caller says otherwise
    facts = {"build": spec.uuid, **spec.metadata}
    etree.SubElement(instance, f"{{{NAMESPACE}}}build").text = facts.pop("build")
    for name, value in facts.items():
        fact = etree.SubElement(instance, f"{{{NAMESPACE}}}fact", attrib={"name": name})
        fact.text = value


def _sysinfo(domain: etree._Element, spec: GuestSpec) -> None:
    sysinfo = add(domain, "sysinfo", type="smbios")
    system = add(sysinfo, "system")
    for name, value in (
        ("manufacturer", "buildflow"),
        ("product", "buildflow"),
        ("serial", spec.uuid),
        ("uuid", spec.uuid),
        ("family", "Virtual Machine"),
    ):
        add(system, "entry", value, name=name)


def _clock(domain: etree._Element, virt_type: str) -> None:
    clock = add(domain, "clock", offset="utc")
    if virt_type != "kvm":
        return
    add(clock, "timer", name="pit", tickpolicy="delay")
    add(clock, "timer", name="rtc", tickpolicy="catchup")
    add(clock, "timer", name="hpet", present="no")


def _characters(devices: etree._Element, spec: GuestSpec, shape: HostShape) -> None:
    for kind in ("serial", "console"):
        device = add(devices, kind, type="pty")
        if kind == "serial" and shape.console_log:
            add(device, "log", file=f"{spec.directory}/console.log", append="off")
        add(device, "target", port="0", **({"type": "serial"} if kind == "console" else {}))
    channel = add(devices, "channel", type="unix")
    if shape.agent_socket is not None:
        add(channel, "source", mode="bind", path=shape.agent_socket)
    add(channel, "target", type="virtio", name="org.qemu.guest_agent.0")
