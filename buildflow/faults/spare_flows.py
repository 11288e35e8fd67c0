"""Flows made and compiled once, and given out as new: each process of a scenario makes its own.

A step may keep things in itself while it works; another process knows nothing of them. So what is
given out again is first put back to what it was when it was made.
"""

from __future__ import annotations

from typing import Any

from buildflow.engine.definitions import Definition, Definitions
from buildflow.engine.store import Row


class SpareFlows(Definitions):
    """Definitions of one flow, of which nobody gets one that was used."""

    def __init__(self, dotted: str, inputs: Row, count: int) -> None:
        super().__init__()
        self._spares = [Definitions().lend(dotted, inputs) for _ in range(count)]
        self._kept = [[(atom, dict(vars(atom))) for atom in each.atoms] for each in self._spares]
        self._given = 0

    def all_new(self) -> None:
        """Put every one back to what it was."""
        for atoms in self._kept[: self._given]:
            for atom, was in atoms:
                vars(atom).clear()
                vars(atom).update(was)
        self._given = 0

    def lend(self, dotted: str, inputs: Row) -> Definition:
        """See Definitions."""
        if self._given < len(self._spares):
            self._given += 1
            return self._spares[self._given - 1]
        return Definitions().lend(dotted, inputs)

    def take_back(self, definition: Any) -> None:
        """Nobody gets it again."""
