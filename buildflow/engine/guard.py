"""The resume guard: the build's row decides what becomes of it, before TaskFlow sees anything.

Pure: facts in, a decision out. TaskFlow's own flow state is never asked: it runs a reverted flow
again from scratch (B2) and calls a half-reverted one reverted (B3, B7).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from buildflow.engine.store import Row


class Intention(StrEnum):
    """What somebody wants of a build."""

    RUN = "run"  # start it, or go on after a crash
    REVERT = "revert"  # roll it back
    DELETE = "delete"  # remove it, whatever it is
    CLEANUP = "cleanup"  # finish what residue is left


class Decision(StrEnum):
    """What is done with it."""

    NOTHING = "nothing"  # it has ended; it is never run again
    FORWARD = "forward"
    BACK = "back"
    REMOVE = "remove"  # the delete flow
    SWEEP = "sweep"  # undo what the ledger still lists


# (status, intention) -> decision; a stop request turns FORWARD into BACK afterwards
TABLE: Final[dict[tuple[str, Intention], Decision]] = {
    ("queued", Intention.RUN): Decision.FORWARD,
    ("queued", Intention.REVERT): Decision.BACK,
    ("queued", Intention.DELETE): Decision.BACK,
    ("queued", Intention.CLEANUP): Decision.NOTHING,
    ("running", Intention.RUN): Decision.FORWARD,
    ("running", Intention.REVERT): Decision.BACK,
    ("running", Intention.DELETE): Decision.BACK,
    ("running", Intention.CLEANUP): Decision.NOTHING,
    ("rolling_back", Intention.RUN): Decision.BACK,
    ("rolling_back", Intention.REVERT): Decision.BACK,
    ("rolling_back", Intention.DELETE): Decision.BACK,
    ("rolling_back", Intention.CLEANUP): Decision.BACK,
    ("complete", Intention.RUN): Decision.NOTHING,
    ("complete", Intention.REVERT): Decision.NOTHING,
    ("complete", Intention.DELETE): Decision.REMOVE,
    ("complete", Intention.CLEANUP): Decision.NOTHING,
    ("rolled_back", Intention.RUN): Decision.NOTHING,
    ("rolled_back", Intention.REVERT): Decision.NOTHING,
    ("rolled_back", Intention.DELETE): Decision.REMOVE,
    ("rolled_back", Intention.CLEANUP): Decision.NOTHING,
    ("residue", Intention.RUN): Decision.NOTHING,
    ("residue", Intention.REVERT): Decision.NOTHING,
    ("residue", Intention.DELETE): Decision.SWEEP,
    ("residue", Intention.CLEANUP): Decision.SWEEP,
}


def decide(row: Row, intention: Intention) -> Decision:
    """What is to be done with the build `row`."""
    decision = TABLE[row["status"], intention]
    if row["status"] == "rolled_back" and row.get("vm_state") in (None, "deleted"):
        return Decision.NOTHING  # there is no record of a failure left to delete either
    if row["status"] == "rolling_back" and row.get("task_state") == "deleting":
        # a delete that was cut off goes on as one; a build that was being rolled back when the
        # delete came is rolled back by its own flow
        return Decision.REMOVE if row["vm_state"] != "building" else Decision.BACK
    if row["status"] == "rolling_back" and row.get("finished_at") is not None:
        # it had ended before, with residue: a cleanup that was cut off goes on as one, and tries
        # once more what could not be undone
        return Decision.SWEEP
    if decision is Decision.FORWARD and row["stop"] is not None:
        return Decision.BACK
    return decision
