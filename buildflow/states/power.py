"""What the hypervisor last reported. Values are Nova's (nova/compute/power_state.py).

Rule: only a report moves it. Each trigger is named after the state reported, and a report is legal
from every other state, for the hypervisor is the authority and our row a snapshot.
"""

from __future__ import annotations

from typing import Final

from buildflow.states.model import Kind, Row, Stability, State, Table

NOSTATE: Final = 0
RUNNING: Final = 1
PAUSED: Final = 3
SHUTDOWN: Final = 4
CRASHED: Final = 6
SUSPENDED: Final = 7

NAMES: Final[dict[int, str]] = {
    NOSTATE: "NOSTATE",
    RUNNING: "RUNNING",
    PAUSED: "PAUSED",
    SHUTDOWN: "SHUTDOWN",
    CRASHED: "CRASHED",
    SUSPENDED: "SUSPENDED",
}

_WHY: Final[dict[int, str]] = {
    NOSTATE: "the hypervisor has no such domain",
    RUNNING: "the guest's processors run, which proves nothing about what runs on them",
    PAUSED: "the guest is held, by us before its start or by the hypervisor on an error",
    SHUTDOWN: "the domain is defined and off",
    CRASHED: "the guest or its QEMU died",
    SUSPENDED: "the guest put itself to sleep",
}


def report_trigger(value: int) -> str:
    """The trigger that a report of power state `value` fires: `report_running` for RUNNING."""
    return f"report_{NAMES[value].lower()}"


TABLE: Final[Table[int]] = Table(
    name="power",
    attribute="power_state",
    initial=NOSTATE,
    why="the hypervisor is the authority; our row is its last report",
    states=tuple(State(value, Stability.STABLE, why) for value, why in _WHY.items()),
    rows=tuple(
        Row(
            report_trigger(dest),
            source,
            dest,
            Kind.REPORTED,
            why=_WHY[dest],
            undo_why="a report is a fact: only another report replaces it",
        )
        for dest in NAMES
        for source in NAMES
        if source != dest
    ),
)
