"""What has become of a guest by now: pure functions of its domain's record and the time."""

from __future__ import annotations

from typing import Final

from buildflow.drivers.protocols import Domain, Json
from buildflow.drivers.simulated.options import BOOTS, CRASHES, PAUSES, POWERS_OFF
from buildflow.states import power

# what a started guest ends as, and whether a QEMU still stands behind it
_FATES: Final = {
    POWERS_OFF: (power.SHUTDOWN, False),
    CRASHES: (power.CRASHED, False),
    PAUSES: (power.PAUSED, True),
}
MARKER: Final = "BUILDFLOW-GUEST-READY"


def power_of(domain: Json, now: float) -> tuple[int, bool]:
    """The power state, and whether a QEMU stands behind the domain."""
    if domain["active"] and domain["power"] == power.RUNNING and now >= domain["acts_at"]:
        return _FATES.get(domain["behaviour"], (power.RUNNING, True))
    return domain["power"], domain["active"]


def is_alive(domain: Json, now: float) -> bool:
    """Whether a QEMU stands behind the domain."""
    return power_of(domain, now)[1]


def is_gone(domain: Json, now: float) -> bool:
    """Whether a domain that is not defined any more has stopped by itself, and so is no more."""
    return not domain["persistent"] and not is_alive(domain, now)


def is_ready(domain: Json, now: float) -> bool:
    """Whether the guest has come up since its last start."""
    return _has_acted(domain, now) and domain["behaviour"] == BOOTS


def _has_acted(domain: Json, now: float) -> bool:
    acts_at, until = domain["acts_at"], domain["until"]
    return acts_at is not None and acts_at <= (now if until is None else min(now, until))


def described(domain: Json, now: float) -> Domain:
    """As the hypervisor reports it."""
    state, active = power_of(domain, now)
    return Domain(
        uuid=domain["uuid"],
        name=domain["name"],
        power_state=state,
        active=active,
        persistent=domain["persistent"],
        build=domain["build"],
    )


def console_of(domain: Json, now: float) -> bytes:
    """All that the guest has written since its last start."""
    if domain["acts_at"] is None:
        return b""
    text = f"SeaBIOS (simulated)\r\nBooting {domain['name']}\r\n"
    if is_ready(domain, now):
        text += f"{MARKER} hostname={domain['name']} uuid={domain['uuid']}\r\n"
    elif _has_acted(domain, now):
        text += _LAST_WORDS.get(domain["behaviour"], "")
    return text.encode()


_LAST_WORDS: Final = {
    POWERS_OFF: "reboot: Power down\r\n",
    CRASHES: "Kernel panic - not syncing: Attempted to kill init!\r\n",
}
