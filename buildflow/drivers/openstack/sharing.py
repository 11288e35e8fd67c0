"""Volumes that several machines may have at once (multiattach), while one of them comes or goes.

Cinder lets one instance at a time through: while a volume is reserved, attaching or detaching for
one, it refuses the next, with the same 400 as for a volume that is another's for good. Whether it
is worth asking again shows in the volume.
"""

from __future__ import annotations

from typing import Any, Final

from buildflow.drivers.openstack.ask import ask
from buildflow.errors import Busy, Conflict, NotFound

PASSING: Final = frozenset(
    {"available", "in-use", "reserved", "attaching", "detaching", "downloading"}
)
"""Statuses of a shared volume in which it can be had, now or in a moment."""


def may_be_had(volume: Any) -> bool:
    """Whether a volume is free, or shared and in no state that lasts."""
    return bool(volume.status == "available" or (volume.multiattach and volume.status in PASSING))


def busy_or(refusal: Conflict, cinder: Any, volume_id: str) -> Conflict:
    """Busy in the words of `refusal` where the volume can be had in a moment, else `refusal`."""
    try:
        volume = ask(
            "volume",
            f"read volume {volume_id}",
            lambda: cinder.volumes.get(volume_id),
            idempotent=True,
        )
    except NotFound:
        return refusal
    return Busy(str(refusal)) if volume.multiattach and may_be_had(volume) else refusal
