"""A volume exported by the simulated backend: iSCSI with CHAP, in the documented nested shape."""

from __future__ import annotations

from typing import Final

from buildflow.drivers.protocols import Json
from buildflow.drivers.simulated.names import chap_password

PORTAL: Final = "198.51.100.7:3260"
"""Tells a simulated volume from any other; the address is one that is nobody's (RFC 5737)."""
_PREFIX: Final = "iqn.2010-10.org.openstack:volume-"


def iqn_of(volume_id: str) -> str:
    """The name of its target."""
    return _PREFIX + volume_id


def connection_info(volume_id: str, attachment_id: str) -> Json:
    """What a build may keep: everything but the password."""
    return {
        "driver_volume_type": "iscsi",
        "serial": volume_id,
        "data": {
            "access_mode": "rw",
            "target_discovered": False,
            "encrypted": False,
            "qos_specs": None,
            "target_iqn": iqn_of(volume_id),
            "target_portal": PORTAL,
            "volume_id": volume_id,
            "target_lun": 1,
            "auth_username": f"user-{attachment_id[:8]}",
            "auth_method": "CHAP",
        },
    }


def with_password(volume_id: str, attachment_id: str) -> Json:
    """What the service answers when it is asked for the secrets."""
    info = connection_info(volume_id, attachment_id)
    info["data"]["auth_password"] = chap_password(attachment_id)
    return info


def device_path(volume_id: str) -> str:
    """Where a host that has logged in finds it."""
    return f"/dev/disk/by-path/ip-{PORTAL}-iscsi-{iqn_of(volume_id)}-lun-1"


def exports_to(volume: Json | None, host: str) -> list[str]:
    """Ids of the attachments through which `host` reaches the volume; several when it is shared."""
    if volume is None:
        return []
    return [
        attachment_id
        for attachment_id, row in volume["attachments"].items()
        if row["exported"] and row["host"] == host
    ]
