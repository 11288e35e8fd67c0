"""A volume's status as Cinder would tell it: pure functions of its record and the time."""

from __future__ import annotations

from typing import Final

from buildflow.drivers.protocols import Json

# what Cinder makes of the rows that are there (cinder/volume/drivers: the best of them decides)
_BY_ROWS: Final = (("attached", "in-use"), ("attaching", "attaching"), ("reserved", "reserved"))

SHARED: Final = ("in-use", "reserved", "attaching", "detaching")
"""What a volume that is for several may be in besides `available`, and can be had in a moment."""


def status_of(volume: Json, now: float) -> str:
    """creating, available, reserved, attaching, in-use, detaching, error, ..."""
    if volume["ready_at"] is not None:
        return str(volume["becomes"] if now >= volume["ready_at"] else volume["status"])
    return str(volume["status"])


def status_from(attachments: Json) -> str:
    """What the rows that are left make of a volume's status."""
    statuses = {row["status"] for row in attachments.values()}
    return next((word for row, word in _BY_ROWS if row in statuses), "available")


def summary_of(volume: Json, now: float) -> Json:
    """As the protocol's `validate` and `find_volume` return it."""
    return {
        "id": volume["id"],
        "name": volume["name"],
        "size": volume["size"],
        "status": status_of(volume, now),
        "bootable": volume["bootable"],
        "multiattach": volume["multiattach"],
    }
