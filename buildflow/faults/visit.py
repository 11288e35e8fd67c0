"""A fault point that a run has come to: where it is, what it is called, the how-manieth it is.

Names are made of what the engine and the drivers call things, so that every point of a flow is
found and none is listed by hand:

    port_0:execute                     a moment of a step (engine/points.py lists them)
    port_0:wait                        the step lets time pass
    port_0/network.create_port:before  a driver's call, before it is made
    port_0/network.create_port:after   it is done, and its answer is on the way
    port_0/commit:before               what the boundary writes is staged, nothing is durable
    port_0/commit:after                it is durable, and the engine is yet to hear of it
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class At(StrEnum):
    """Where in a run a point is."""

    EXECUTE = "execute"
    MADE = "made"
    RECORDED = "recorded"
    REVERT = "revert"
    UNDO = "undo"
    UNDONE = "undone"
    REVERTED = "reverted"
    WAIT = "wait"
    CALL_BEFORE = "call before"
    CALL_AFTER = "call after"
    COMMIT_BEFORE = "commit before"
    COMMIT_AFTER = "commit after"

    @property
    def of_step(self) -> bool:
        """Whether it is a moment of a step, a wait included."""
        return self not in _INNER


_INNER = frozenset({At.CALL_BEFORE, At.CALL_AFTER, At.COMMIT_BEFORE, At.COMMIT_AFTER})


@dataclass(frozen=True, slots=True)
class Visit:
    """One point, come to once.

    `index` counts every visit of the run from 0, through crashes and resumes; `turn` those of the
    same `name` from 1. `step` is the step at work; `driver` and `call` are given for a call only.
    `back` tells whether the run goes back by now, `undoing` whether it is at an undo,
    which a run that goes forward may be as well.
    """

    index: int
    at: At
    name: str
    turn: int
    step: str
    driver: str = ""
    call: str = ""
    back: bool = False
    undoing: bool = False

    def __str__(self) -> str:
        return self.name if self.turn == 1 else f"{self.name} ({self.turn})"
