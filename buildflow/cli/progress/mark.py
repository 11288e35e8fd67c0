"""How a step, or a box of steps, stands."""

from __future__ import annotations

from enum import StrEnum


class Mark(StrEnum):
    """How one line of the tree stands, as the word that is shown for it."""

    PENDING = ""
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    UNDOING = "rolling back"
    UNDONE = "rolled back"
    RESIDUE = "residue"
