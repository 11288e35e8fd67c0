"""A cloud's own kinds of refusal, named as the drivers of the real services name them.

A flow decides by name whether another host is worth trying; importing the real ones would load the
clients of three services.
"""

from __future__ import annotations

from buildflow.errors import DriverError, Exhausted, Refused


class BindingFailed(Refused):
    """The port could not be bound on this host; another host might do (PortBindingFailed)."""


class NoAddressLeft(Exhausted):
    """A subnet is full (NoMoreFixedIps)."""


class QuotaUsedUp(Exhausted):
    """The project may have no more of it (OverQuota)."""


class VolumeServiceError(DriverError):
    """The volume service failed at it, or its answer was lost."""
