"""iSCSI with CHAP for the embedded driver, which has no secret API.

QEMU reads the password from a file (`-object secret`), so that it is neither in its arguments nor
in the domain's XML. The file may go as soon as the domain has started.
"""

from __future__ import annotations

import json
from typing import Final

from buildflow.drivers.libvirt.portal import split_portal
from buildflow.drivers.protocols import Json
from buildflow.errors import Refused

# libvirt gives out the low slots of pci.0; a guest of ours has well under sixteen devices
_FIRST_SLOT: Final = 0x10
_LAST_SLOT: Final = 0x1F


def arguments(
    mapping: Json, secret_file: str, number: int, initiator: str | None = None
) -> list[str]:
    """QEMU arguments for one entry of block_device_mapping; `number` is its place there,
    `initiator` the iSCSI name to log in with.

    Raises Refused for what cannot be said this way.
    """
    info = mapping["connection_info"]
    data = info["data"]
    if info["driver_volume_type"] != "iscsi":
        raise Refused(
            f"a {info['driver_volume_type']} volume with a password needs a libvirt daemon:"
            " connect to qemu:///session or qemu:///system",
            driver="compute",
        )
    if mapping.get("disk_bus") not in (None, "virtio"):
        raise Refused(
            f"the embedded hypervisor attaches iSCSI volumes to virtio, not {mapping['disk_bus']}",
            driver="compute",
        )
    slot = _FIRST_SLOT + number
    if slot > _LAST_SLOT:
        raise Refused("the embedded hypervisor takes at most 16 iSCSI volumes", driver="compute")
    host, port = split_portal(data["target_portal"])
    portal = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    secret, node = f"bf-secret{number}", f"bf-volume{number}"
    read_only = data.get("access_mode") == "ro"
    blockdev: dict[str, object] = {
        "driver": "iscsi",
        "node-name": node,
        "transport": "tcp",
        "portal": portal,
        "target": data["target_iqn"],
        "lun": int(data["target_lun"]),
        "user": data["auth_username"],
        "password-secret": secret,
        "read-only": read_only,
        "cache": {"direct": True, "no-flush": False},
    }
    if initiator is not None:
        blockdev["initiator-name"] = initiator
    device: dict[str, object] = {
        "driver": "virtio-blk-pci",
        "id": f"ua-{node}",
        "drive": node,
        "bus": "pci.0",
        "addr": hex(slot),
        "serial": str(info.get("serial") or "")[:20],
    }
    boot_index = mapping.get("boot_index")
    if isinstance(boot_index, int) and boot_index >= 0:
        device["bootindex"] = boot_index + 1
    return [
        "-object", json.dumps({"qom-type": "secret", "id": secret, "file": secret_file}),
        "-blockdev", json.dumps(blockdev),
        "-device", json.dumps(device),
    ]  # fmt: skip
