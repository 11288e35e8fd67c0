"""libvirt's domain states as Nova's power states (nova/virt/libvirt/guest.py)."""

from __future__ import annotations

from typing import Final

import libvirt

from buildflow.states import power

_STATES: Final = {
    libvirt.VIR_DOMAIN_NOSTATE: power.NOSTATE,
    libvirt.VIR_DOMAIN_RUNNING: power.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: power.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: power.PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: power.SHUTDOWN,
    libvirt.VIR_DOMAIN_SHUTOFF: power.SHUTDOWN,
    libvirt.VIR_DOMAIN_CRASHED: power.CRASHED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: power.SUSPENDED,
}
_CRASHED: Final = (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED)


def power_state(state: int, reason: int) -> int:
    """The power state; a domain that is off because its QEMU died is CRASHED."""
    if (state, reason) == _CRASHED:
        return power.CRASHED
    return _STATES.get(state, power.NOSTATE)
