"""A successful build walked through the tables: each step's triggers, and the states after them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from buildflow.diagrams.model import FlowModel, Node
from buildflow.errors import DefinitionError, InvalidTransition
from buildflow.states import InstanceStates, apply


@dataclass(frozen=True, slots=True)
class Walked:
    """`step` (its key and text) fired `triggers` and left `states`; `begins` tells start from end.

    `box` is the documented flow that the step stands in, when the document does not show it itself.
    """

    key: str
    step: str
    box: str
    triggers: tuple[str, ...]
    states: InstanceStates
    begins: bool


def moments(flow: FlowModel) -> Iterator[Walked]:
    """Every move of a build in which nothing fails, in order.

    Raises DefinitionError when the flow fires a trigger that the tables refuse there: such a flow
    has no picture, for it cannot run.
    """
    states = InstanceStates()
    for node in flow.walk():
        for begins, triggers in ((True, node.on_start), (False, node.on_done)):
            if not triggers:
                continue
            try:
                states = apply(states, triggers)
            except (InvalidTransition, DefinitionError) as error:
                raise DefinitionError(
                    f"step {node.text!r} of flow {flow.name!r} makes an illegal move: {error}"
                ) from error
            yield Walked(node.key, node.text, _box(flow, node), triggers, states, begins)


def _box(flow: FlowModel, node: Node) -> str:
    above = node
    while not above.documented and above.parent is not None:
        above = flow.by_key[above.parent]
    return above.text if above is not node and above is not flow.root else ""
