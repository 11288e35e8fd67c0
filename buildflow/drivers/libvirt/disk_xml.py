"""The disks of a guest: the root disk and block_device_info (nova/virt/libvirt/volume/*.py).

A volume that this host has as a device or a file (`data.device_path`) is used by its path; one that
it has not is left to QEMU's own initiator, so that no device ever appears on the host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from lxml import etree

from buildflow.drivers.libvirt import embedded_iscsi
from buildflow.drivers.libvirt.elements import add
from buildflow.drivers.libvirt.portal import split_portal
from buildflow.drivers.protocols import GuestSpec, Json
from buildflow.errors import Refused


@dataclass(frozen=True, slots=True)
class Disks:
    """`elements` for `<devices>`, and arguments for QEMU where libvirt cannot say it in XML."""

    elements: tuple[etree._Element, ...]
    qemu_arguments: tuple[str, ...] = ()


def plan(
    spec: GuestSpec,
    secret_files: str | None,
    initiator: str | None = None,
    backing: tuple[str, str] | None = None,
) -> Disks:
    """All disks of `spec`. `secret_files` is where QEMU finds secrets in embedded mode, None where
    libvirt has them; `initiator` the iSCSI name that QEMU logs in with; `backing` the image below
    the root disk when libvirt must not take it over. Raises Refused for a volume that cannot be
    used here.
    """
    elements: list[etree._Element] = []
    arguments: list[str] = []
    if spec.root_disk is not None:
        elements.append(_root_disk(spec, backing))
    for number, mapping in enumerate(spec.block_device_info["block_device_mapping"]):
        secret = spec.secrets.get(volume_id(mapping["connection_info"]))
        if secret is not None and secret_files is not None:
            file = f"{secret_files}/{secret}"
            arguments += embedded_iscsi.arguments(mapping, file, number, initiator)
        else:
            elements.append(_volume(mapping, secret, initiator))
    return Disks(tuple(elements), tuple(arguments))


def volume_id(connection_info: Json) -> str:
    """The volume's id: its serial, or what its data say."""
    return str(connection_info.get("serial") or connection_info["data"].get("volume_id") or "")


def target_dev(name: str) -> str:
    """`/dev/vda` or `vda` as libvirt wants it: `vda`."""
    return name.removeprefix("/dev/")


def _root_disk(spec: GuestSpec, backing: tuple[str, str] | None) -> etree._Element:
    assert spec.root_disk is not None
    disk = etree.Element("disk", attrib={"type": "file", "device": "disk"})
    add(disk, "driver", name="qemu", type=spec.root_disk_format, discard="unmap")
    add(disk, "source", file=spec.root_disk)
    if backing is not None:
        path, disk_format = backing
        store = add(disk, "backingStore", type="file")
        add(store, "format", type=disk_format)
        # or libvirt gives the user's own image to QEMU's user, and leaves it there
        add(add(store, "source", file=path), "seclabel", model="dac", relabel="no")
        add(store, "backingStore")
    add(
        disk,
        "target",
        dev=target_dev(spec.block_device_info["root_device_name"] or "vda"),
        bus="virtio",
    )
    add(disk, "boot", order="1")
    return disk


def _volume(mapping: Json, secret: str | None, initiator: str | None) -> etree._Element:
    info = mapping["connection_info"]
    data: Json = info["data"]
    disk = etree.Element("disk", attrib={"device": mapping.get("device_type") or "disk"})
    if data.get("device_path"):
        _by_path(disk, info)
    else:
        protocol = info["driver_volume_type"]
        writer = NETWORK.get(protocol)
        if writer is None:
            raise Refused(
                f"volume {volume_id(info)} is of type {protocol!r}: QEMU has no driver of its own"
                f" for it (it has {', '.join(NETWORK)}), so it must be connected by this host",
                driver="compute",
            )
        disk.set("type", "network")
        add(disk, "driver", name="qemu", type="raw", cache="none", discard=_discard(data))
        source = add(disk, "source", protocol=protocol)
        writer(disk, source, data, secret)
        if protocol == "iscsi" and initiator is not None:
            add(add(source, "initiator"), "iqn", name=initiator)
    add(
        disk,
        "target",
        dev=target_dev(mapping["mount_device"]),
        bus=mapping.get("disk_bus") or "virtio",
    )
    if volume_id(info):
        add(disk, "serial", volume_id(info))
    if data.get("access_mode") == "ro":
        add(disk, "readonly")
    if info.get("multiattach") or data.get("multiattach"):
        add(disk, "shareable")
    if isinstance(mapping.get("boot_index"), int) and mapping["boot_index"] >= 0:
        add(disk, "boot", order=str(mapping["boot_index"] + 1))
    return disk


def _by_path(disk: etree._Element, info: Json) -> None:
    data = info["data"]
    file_format = data.get("format")
    if file_format:
        disk.set("type", "file")
        add(disk, "driver", name="qemu", type=file_format, discard=_discard(data))
        add(disk, "source", file=data["device_path"])
    else:
        disk.set("type", "block")
        add(
            disk,
            "driver",
            name="qemu",
            type="raw",
            cache="none",
            io="native",
            discard=_discard(data),
        )
        add(disk, "source", dev=data["device_path"])


def _discard(data: Mapping[str, object]) -> str | None:
    return "unmap" if data.get("discard") else None


# --- QEMU's own drivers ------------------------------------------------------------------------


def _iscsi(disk: etree._Element, source: etree._Element, data: Json, secret: str | None) -> None:
    host, port = split_portal(data["target_portal"])
    source.set("name", f"{data['target_iqn']}/{data['target_lun']}")
    add(source, "host", name=host, port=str(port))
    if secret is not None:
        _auth(disk, data["auth_username"], "iscsi", secret)


def _rbd(disk: etree._Element, source: etree._Element, data: Json, secret: str | None) -> None:
    source.set("name", data["name"])
    for host, port in zip(data["hosts"], data["ports"], strict=True):
        add(source, "host", name=str(host), port=str(port))
    uuid = secret or data.get("secret_uuid")
    if data.get("auth_enabled") and uuid:
        _auth(disk, data["auth_username"], "ceph", uuid)


def _nbd(disk: etree._Element, source: etree._Element, data: Json, secret: str | None) -> None:
    if data.get("export"):
        source.set("name", data["export"])
    add(source, "host", name=data["host"], port=str(data.get("port", 10809)))


def _nfs(disk: etree._Element, source: etree._Element, data: Json, secret: str | None) -> None:
    server, _, path = data["export"].partition(":")
    source.set("name", f"{path.rstrip('/')}/{data['name']}")
    add(source, "host", name=server)
    # as whom QEMU presents itself; the volume service's files belong to root unless it says so
    owner, group = data.get("nfs_uid", 0), data.get("nfs_gid", 0)
    add(source, "identity", user=f"+{owner}", group=f"+{group}")


def _auth(disk: etree._Element, username: str, kind: str, uuid: str) -> None:
    auth = add(disk, "auth", username=username)
    add(auth, "secret", type=kind, uuid=uuid)


# driver_volume_type -> how QEMU's own driver is told
NETWORK: Final[dict[str, Callable[[etree._Element, etree._Element, Json, str | None], None]]] = {
    "iscsi": _iscsi,
    "rbd": _rbd,
    "nbd": _nbd,
    "nfs": _nfs,
}
