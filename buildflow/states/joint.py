"""Which (vm, task, power) triples are legal, and why. Everything not listed is refused.

One row stands for one vm and task state with the set of power states that may go with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from buildflow.states import power, task, vm

Triple = tuple[str, str | None, int]

_ANY_POWER: Final = frozenset(power.NAMES)
_OFF: Final = frozenset({power.NOSTATE})


@dataclass(frozen=True, slots=True)
class JointRow:
    """`vm_state` and `task_state` may stand together while power is one of `power_states`."""

    vm_state: str
    task_state: str | None
    power_states: frozenset[int]
    why: str


TABLE: Final[tuple[JointRow, ...]] = (
    JointRow(vm.BUILDING, task.SCHEDULING, _OFF, "accepted: nothing has been made"),
    JointRow(vm.BUILDING, task.IDLE, _OFF, "a host has it; no resource has been asked for"),
    JointRow(vm.BUILDING, task.NETWORKING, _OFF, "ports come before any domain"),
    JointRow(vm.BUILDING, task.BLOCK_DEVICE_MAPPING, _OFF, "volumes come before any domain"),
    JointRow(
        vm.BUILDING,
        task.SPAWNING,
        _ANY_POWER,
        "the domain starts here, and here it is seen to crash, pause or stop",
    ),
    JointRow(
        vm.BUILDING,
        task.DELETING,
        _ANY_POWER,
        "a delete came in mid-build: the guest may still be up while it is rolled back",
    ),
    JointRow(
        vm.ACTIVE,
        task.IDLE,
        _ANY_POWER,
        "built; what its owner or its guest does with its power afterwards is theirs",
    ),
    JointRow(vm.ACTIVE, task.DELETING, _ANY_POWER, "being deleted: the guest goes first"),
    JointRow(
        vm.ERROR,
        task.IDLE,
        _ANY_POWER,
        "rolled back (NOSTATE), or with residue: a guest that could not be stopped",
    ),
    JointRow(
        vm.ERROR, task.DELETING, _ANY_POWER, "the record, and residue if any, is being removed"
    ),
    JointRow(vm.DELETED, task.IDLE, _OFF, "gone"),
)

_LEGAL: Final[dict[Triple, JointRow]] = {
    (row.vm_state, row.task_state, p): row for row in TABLE for p in row.power_states
}


def find(vm_state: str, task_state: str | None, power_state: int) -> JointRow | None:
    """The row that allows this triple, or None when it is illegal."""
    return _LEGAL.get((vm_state, task_state, power_state))


def triples() -> Iterator[Triple]:
    """Every legal triple, in the order of the table."""
    yield from _LEGAL
