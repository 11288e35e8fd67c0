"""The task machine: what is being done to the instance now. Values are Nova's task states."""

from __future__ import annotations

from typing import Final

from buildflow.states.model import Kind, Row, Stability, State, Table

IDLE: Final = None
SCHEDULING: Final = "scheduling"
NETWORKING: Final = "networking"
BLOCK_DEVICE_MAPPING: Final = "block_device_mapping"
SPAWNING: Final = "spawning"
DELETING: Final = "deleting"

_DELETE_WHY: Final = "a delete request at any moment wins"
_DELETE_FINAL: Final = "a delete is final: it goes on until nothing is left"

TABLE: Final[Table[str | None]] = Table(
    name="task",
    attribute="task_state",
    initial=SCHEDULING,
    why="says which step is at work; a build changes it three times",
    states=(
        State(IDLE, Stability.STABLE, "no step is at work"),
        State(SCHEDULING, Stability.TRANSIENT, "accepted; a host is being chosen"),
        State(NETWORKING, Stability.TRANSIENT, "ports are being made"),
        State(BLOCK_DEVICE_MAPPING, Stability.TRANSIENT, "volumes are being connected"),
        State(SPAWNING, Stability.TRANSIENT, "the hypervisor is at work"),
        State(DELETING, Stability.TRANSIENT, "everything is being removed, on request"),
    ),
    rows=(
        Row(
            "start_building",
            SCHEDULING,
            IDLE,
            Kind.FORWARD,
            undo="return_to_scheduling",
            why="a host has taken the build (nova: _start_building)",
        ),
        Row(
            "start_networking",
            IDLE,
            NETWORKING,
            Kind.FORWARD,
            undo="leave_networking",
            why="nova: _allocate_network",
        ),
        Row(
            "start_block_device_mapping",
            NETWORKING,
            BLOCK_DEVICE_MAPPING,
            Kind.FORWARD,
            undo="leave_block_device_mapping",
            why="nova: _prep_block_device",
        ),
        Row(
            "start_spawning",
            BLOCK_DEVICE_MAPPING,
            SPAWNING,
            Kind.FORWARD,
            undo="leave_spawning",
            why="nova: _spawn",
        ),
        Row(
            "finish_spawning",
            SPAWNING,
            IDLE,
            Kind.FORWARD,
            undo="resume_spawning",
            why="the guest has booted: no task is left to do",
        ),
        *(
            Row(
                "give_up",
                source,
                IDLE,
                Kind.FAILING,
                why,
                undo_why="an error is shown until the instance is deleted; a retry is a new build",
            )
            for source, why in (
                (SCHEDULING, "the rollback has walked all the way back: no host is left to try"),
                (NETWORKING, "residue: a port could not be removed"),
                (BLOCK_DEVICE_MAPPING, "residue: a volume could not be detached"),
                (SPAWNING, "residue: a guest could not be stopped"),
            )
        ),
        *(
            Row(
                "start_deleting",
                source,
                DELETING,
                Kind.DELETING,
                _DELETE_WHY,
                undo_why=_DELETE_FINAL,
            )
            for source in (IDLE, SCHEDULING, NETWORKING, BLOCK_DEVICE_MAPPING, SPAWNING)
        ),
        Row(
            "finish_deleting",
            DELETING,
            IDLE,
            Kind.DELETING,
            why="the delete has removed everything",
            undo_why=_DELETE_FINAL,
        ),
    ),
)
