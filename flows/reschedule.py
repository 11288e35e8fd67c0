"""Which failures another host might not have: Nova's table of abort and reschedule, as data.

Follows nova/compute/manager.py: _build_and_run_instance. The first row whose class fits decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from buildflow import errors


class Resolution(StrEnum):
    """What becomes of a build whose attempt on one host has failed."""

    ABORT = "abort"
    RESCHEDULE = "reschedule"


@dataclass(frozen=True, slots=True)
class ResolutionRow:
    """One class of failure."""

    error: type[BaseException]
    resolution: Resolution
    why: str


TABLE: Final[tuple[ResolutionRow, ...]] = (
    ResolutionRow(errors.BuildStopped, Resolution.ABORT, "somebody wants it to stop"),
    ResolutionRow(
        errors.BindingFailed,
        Resolution.RESCHEDULE,
        "Neutron knows no way to this host; it may know one to another (PortBindingFailed)",
    ),
    ResolutionRow(
        errors.NoAddressLeft,
        Resolution.ABORT,
        "the subnet is as full for every host (NoMoreFixedIps)",
    ),
    ResolutionRow(
        errors.QuotaUsedUp, Resolution.ABORT, "the quota is the project's, not the host's"
    ),
    ResolutionRow(
        errors.VolumeServiceError,
        Resolution.ABORT,
        "Cinder is the same for every host, and may hold a volume in an unknown state (InvalidBDM)",
    ),
    ResolutionRow(
        errors.NoRoom,
        Resolution.RESCHEDULE,
        "another build was faster to take the room; the host may be tried again",
    ),
    ResolutionRow(errors.Exhausted, Resolution.RESCHEDULE, "this host has no room"),
    ResolutionRow(errors.BadInput, Resolution.ABORT, "the request would fail on any host"),
    ResolutionRow(errors.DefinitionError, Resolution.ABORT, "the flow would fail on any host"),
    ResolutionRow(errors.InvalidTransition, Resolution.ABORT, "the instance is not ours to move"),
    ResolutionRow(
        errors.Refused, Resolution.ABORT, "the service refuses the request itself (4xx, policy)"
    ),
    ResolutionRow(
        errors.HostUnusable, Resolution.RESCHEDULE, "this host's hypervisor can't be used"
    ),
    ResolutionRow(
        errors.GuestDied, Resolution.RESCHEDULE, "the guest may boot where its host is sound"
    ),
    ResolutionRow(
        errors.DeadlineExceeded, Resolution.RESCHEDULE, "slow here may be quick elsewhere"
    ),
    ResolutionRow(
        errors.DriverError, Resolution.RESCHEDULE, "any other failure of a driver is this host's"
    ),
    ResolutionRow(Exception, Resolution.ABORT, "what nobody foresaw is not tried again blindly"),
)

_BY_NAME: Final = {row.error.__name__: row for row in TABLE}


def resolve(class_names: list[str]) -> ResolutionRow:
    """The row for an error given as the names of its class and bases, most derived first.

    Names, because after a crash that is what is left of it.
    """
    for row in TABLE:
        if row.error.__name__ in class_names:
            return row
    return _BY_NAME["Exception"]
