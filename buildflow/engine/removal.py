"""Flows that remove what another flow made: the same steps, undone one by one from the ledger."""

from __future__ import annotations

from typing import Any, ClassVar

from taskflow.patterns import linear_flow

from buildflow.engine.fingerprint import atoms_of
from buildflow.engine.step import Step


class Remove(Step):
    """Undoes what one step of the other flow made; what can't be undone is residue, no error."""

    no_undo: ClassVar[str] = "a delete is final: it goes on until nothing is left"

    def __init__(self, target: Step) -> None:
        super().__init__(f"remove {target.name}", label=target.undo_label or f"undo {target.name}")
        self.target = target

    def perform(self) -> None:
        """See the class."""
        self.run.undo_step(self.target)


def removal_flow(flow: Any, name: str) -> Any:
    """A linear flow that undoes each effect of `flow`, last made first."""
    result = linear_flow.Flow(name)
    steps = [atom for atom in atoms_of(flow) if isinstance(atom, Step) and atom.kind is not None]
    for step in reversed(steps):
        result.add(Remove(step))
    return result
