"""What of OpenStack's failures ends a build and what sends it to another host, as data.

Nova's rules (nova/compute/manager.py: _build_and_run_instance; _prep_block_device, which makes an
abort of whatever happens to a volume). Only the classes that are OpenStack's own are here: what
they derive from decides all else. The class says it all, so that the rule holds after a crash too,
when a name is what is left of an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from buildflow.drivers.openstack.error_table import (
    BindingFailed,
    NoAddressLeft,
    QuotaUsedUp,
    VolumeServiceError,
)
from buildflow.errors import DriverError

Decision = Literal["abort", "reschedule"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One class of error; `nova` is what Nova calls it."""

    error: type[DriverError]
    decision: Decision
    nova: str
    why: str


RULES: Final[tuple[Rule, ...]] = (
    Rule(BindingFailed, "reschedule", "PortBindingFailed",
         "Neutron knows no way to this host; it may know one to another"),
    Rule(NoAddressLeft, "abort", "NoMoreFixedIps",
         "the subnet is as full for every host"),
    Rule(QuotaUsedUp, "abort", "OverQuota",
         "the quota is the project's, not the host's"),
    Rule(VolumeServiceError, "abort", "InvalidBDM",
         "Cinder is the same for every host, and may hold a volume whose state is not known"),
)  # fmt: skip


def decide(error: BaseException) -> Decision | None:
    """The rule's decision, None where OpenStack has none of its own."""
    return next((rule.decision for rule in RULES if isinstance(error, rule.error)), None)
