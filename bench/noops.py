"""Eight steps in a row that do nothing, for the engine whose cost is measured."""

from __future__ import annotations

from typing import Any, ClassVar

from taskflow.patterns import linear_flow

from buildflow.engine.step import Step


class Noop(Step):
    """Nothing, durably."""

    no_undo: ClassVar[str] = "nothing is made"

    def perform(self) -> int:
        """One."""
        return 1


def eight() -> Any:
    """The flow."""
    return linear_flow.Flow("eight").add(*(Noop(f"step {n}") for n in range(8)))
