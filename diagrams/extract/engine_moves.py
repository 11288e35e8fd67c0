"""The moves that the engine makes by itself, when a rollback ends and for a delete.

They stand in code (engine/run.py: begin_deleting, end_rollback), not in a table; the tests run real
builds and see that every move in their histories is one of these or a step's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from buildflow.states import Kind, power, vm

ROLLBACK_ENDS: Final = "end of the rollback"
DELETE_ASKED: Final = "delete asked for"
DELETE_ENDS: Final = "end of the delete"
HYPERVISOR: Final = "the hypervisor"


@dataclass(frozen=True, slots=True)
class Move:
    """Triggers that are fired together, and what fires them."""

    triggers: tuple[str, ...]
    kind: Kind
    step: str


ENGINE_MOVES: Final = (
    Move(("fail",), Kind.FAILING, ROLLBACK_ENDS),
    Move(("fail", "give_up"), Kind.FAILING, ROLLBACK_ENDS),
    Move(("start_deleting",), Kind.DELETING, DELETE_ASKED),
    *(
        Move((f"delete_{state}", "finish_deleting"), Kind.DELETING, DELETE_ENDS)
        for state in (vm.BUILDING, vm.ACTIVE, vm.ERROR)
    ),
)

REPORTS: Final = tuple(
    Move((power.report_trigger(value),), Kind.REPORTED, HYPERVISOR) for value in power.NAMES
)

FIRED_BY_ENGINE: Final = {
    trigger: move.step for move in (*ENGINE_MOVES, *REPORTS) for trigger in move.triggers
}
