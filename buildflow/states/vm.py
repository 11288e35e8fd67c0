"""The vm machine: what the user's instance is. Values are Nova's (nova/compute/vm_states.py)."""

from __future__ import annotations

from typing import Final

from buildflow.states.model import Kind, Row, Stability, State, Table

BUILDING: Final = "building"
ACTIVE: Final = "active"
ERROR: Final = "error"
DELETED: Final = "deleted"

TABLE: Final[Table[str]] = Table(
    name="vm",
    attribute="vm_state",
    initial=BUILDING,
    why="the one state that a user asks for: is it there, did it fail, is it gone",
    states=(
        State(BUILDING, Stability.TRANSIENT, "a build is at work, forward or backward"),
        State(
            ACTIVE, Stability.STABLE, "the guest runs and everything it was asked to have is there"
        ),
        State(ERROR, Stability.STUCK, "the build failed; kept so that its fault can be read"),
        State(DELETED, Stability.TERMINAL, "gone, on request"),
    ),
    rows=(
        Row(
            "activate",
            BUILDING,
            ACTIVE,
            Kind.FORWARD,
            undo="deactivate",
            why="booted: the build's last commit (nova: _update_instance_after_spawn)",
        ),
        Row(
            "fail",
            BUILDING,
            ERROR,
            Kind.FAILING,
            why="the build was rolled back; nova: _set_instance_obj_error_state",
            undo_why="an error is shown until the instance is deleted; a retry is a new build",
        ),
        Row(
            "delete_building",
            BUILDING,
            DELETED,
            Kind.DELETING,
            why="a delete during the build wins; the rollback has removed everything",
            undo_why="a delete is final",
        ),
        Row(
            "delete_active",
            ACTIVE,
            DELETED,
            Kind.DELETING,
            why="the delete flow has removed everything",
            undo_why="a delete is final",
        ),
        Row(
            "delete_error",
            ERROR,
            DELETED,
            Kind.DELETING,
            why="a failed build holds nothing but its record, or residue that the delete removed",
            undo_why="a delete is final",
        ),
    ),
)
