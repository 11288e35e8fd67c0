"""A state table as a MachineModel, with the steps of a flow that fire each of its triggers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from buildflow.diagrams.extract.engine_moves import FIRED_BY_ENGINE
from buildflow.diagrams.extract.moments import moments
from buildflow.diagrams.model import Edge, FlowModel, MachineModel, Moment, StateNode
from buildflow.states import Table
from buildflow.states.machine import label


def firing_steps(flows: Iterable[FlowModel]) -> dict[str, tuple[str, ...]]:
    """Each trigger, and the labels of the steps that fire it, in the order of running."""
    found: dict[str, list[str]] = {}
    for flow in flows:
        for node in flow.walk():
            for trigger in (*node.on_start, *node.on_done):
                steps = found.setdefault(trigger, [])
                if node.text not in steps:
                    steps.append(node.text)
    return {trigger: tuple(steps) for trigger, steps in found.items()}


def extract_machine(
    table: Table[Any], flow: FlowModel | None = None, others: Iterable[FlowModel] = ()
) -> MachineModel:
    """The model of `table`; `flow` gives its path and, with `others`, the steps on its edges."""
    flows = [*([flow] if flow is not None else []), *others]
    steps = firing_steps(flows)
    undone: dict[str | None, tuple[str, ...]] = {
        row.undo: steps.get(row.trigger, ()) for row in table.rows if row.undo
    }
    return MachineModel(
        name=table.name,
        attribute=table.attribute,
        why=table.why,
        initial=label(table.initial),
        states=tuple(StateNode(label(s.value), s.stability, s.why) for s in table.states),
        edges=tuple(
            Edge(
                trigger=row.trigger,
                source=label(row.source),
                dest=label(row.dest),
                kind=row.kind,
                why=row.why,
                undo=row.undo or "",
                undo_why=row.undo_why,
                steps=_fired_by(row.trigger, steps, undone),
            )
            for row in table.all_rows()
        ),
        path=_path(table, flow) if flow is not None else (),
    )


def _fired_by(
    trigger: str, steps: Mapping[str, tuple[str, ...]], undone: Mapping[str | None, tuple[str, ...]]
) -> tuple[str, ...]:
    by_engine = (FIRED_BY_ENGINE[trigger],) if trigger in FIRED_BY_ENGINE else ()
    if trigger not in steps and trigger in undone:
        return tuple(f"undo of {step}" for step in undone[trigger])
    return (*steps.get(trigger, ()), *by_engine)


def _path(table: Table[Any], flow: FlowModel) -> tuple[Moment, ...]:
    """The moves of a successful build that change this machine, its first state included."""
    own = table.triggers()
    state = label(table.initial)
    path = [Moment("", (), state)]
    for moment in moments(flow):
        triggers = tuple(t for t in moment.triggers if t in own)
        if triggers:
            state = label(getattr(moment.states, table.attribute))
            path.append(Moment(moment.step, triggers, state, moment.box))
    return tuple(path)
