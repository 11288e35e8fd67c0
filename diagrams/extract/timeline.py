"""Lanes and bars: of a flow as planned (by place), and of a build as it went (by the clock)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from buildflow.diagrams.extract.moments import moments
from buildflow.diagrams.model import (
    Bar,
    FlowModel,
    Lane,
    Node,
    NodeType,
    Outcome,
    Run,
    Span,
    StepRun,
    Timeline,
)
from buildflow.diagrams.overlay import combined, undo_places
from buildflow.states import InstanceStates
from buildflow.states.machine import label

LANES = ("vm", "task", "power")


def plan(flow: FlowModel) -> Timeline:
    """A build in which nothing fails: one place for each task, one before them, one after.

    The lanes are left out when no step of the flow moves a state.
    """
    place = {node.key: float(i) for i, node in enumerate(flow.tasks(), 1)}
    end = float(len(place) + 2)
    changes: list[tuple[float, str, str, InstanceStates]] = []
    for moment in moments(flow):
        at = place.get(moment.key, 0.0) + (0.0 if moment.begins else 1.0)
        changes.append((at, "+".join(moment.triggers), moment.step, moment.states))
    bars = []
    for node in _rows(flow):
        inner = [place[n.key] for n in flow.walk(node.key) if n.key in place]
        if inner:
            bars.append(_bar(node, flow, min(inner), max(inner) + 1.0))
    lanes = _lanes([(0.0, "", "", *_labels(InstanceStates())), *_by_label(changes)], end)
    return Timeline(
        name=flow.root.text, unit="step", end=end, lanes=lanes if changes else (), bars=tuple(bars)
    )


def recorded(flow: FlowModel, run: Run) -> Timeline:
    """A build as it went. Steps that `flow` does not have come last, under their own names."""
    end = max([run.now, *(s.finished or 0.0 for s in run.steps)], default=0.0)
    bars: list[Bar] = []
    attempts: dict[str, list[StepRun]] = {}
    for step in run.steps:
        attempts.setdefault(step.name, []).append(step)
    known = {node.name for node in flow.walk()}
    places = undo_places(flow, run)
    for node in _rows(flow):
        if node.type is NodeType.TASK:
            bars.extend(
                _ran(run, step, node.text, flow.depth(node.key) - 1, end, places)
                for step in attempts.get(node.name, [StepRun(node.name, Outcome.PENDING)])
            )
        else:
            bars.append(_around(flow, node, run, attempts, end))
    strangers = [step for step in run.steps if step.name not in known]
    bars.extend(_ran(run, step, step.name, 0, end, places) for step in strangers)
    changes = [
        (line.at, line.trigger, line.step, line.vm_state, line.task_state, line.power_state)
        for line in run.history
        if line.at is not None
    ]
    return Timeline(
        name=run.name or run.id,
        unit="second",
        end=end,
        lanes=_lanes(changes, end),
        bars=tuple(bars),
        origin=run.origin,
        status=run.status,
        ongoing=not run.over,
        fault=": ".join(part for part in (run.fault_type, run.fault_message) if part),
    )


def _rows(flow: FlowModel) -> list[Node]:
    """What gets a row: everything but the root, which is the whole picture, and the retries."""
    return [n for n in flow.walk() if n.parent is not None and n.type is not NodeType.RETRY]


def _bar(node: Node, flow: FlowModel, start: float, end: float) -> Bar:
    nests = node.type is NodeType.FLOW
    depth = flow.depth(node.key) - 1
    return Bar(node.key, node.text, depth, nests=nests, start=start, end=end)


def _ran(
    run: Run,
    step: StepRun,
    text: str,
    depth: int,
    end: float,
    places: Mapping[tuple[str, int], int],
) -> Bar:
    working = step.outcome is Outcome.RUNNING
    undo_start = undo_end = None
    if step.undone_at is not None:
        undo_end = step.undone_at
        undo_start = step.undone_at - (step.undo_seconds or 0.0)
    finished = step.finished
    if finished is None and step.started is not None and step.seconds is not None:
        finished = step.started + step.seconds
    if finished is None and working:
        finished = end
    return Bar(
        name=step.name,
        label=text if step.attempt == 1 else f"{text} (attempt {step.attempt})",
        depth=depth,
        start=step.started,
        end=finished,
        undo_start=undo_start,
        undo_end=undo_end,
        undo_failed=step.undo_failed,
        outcome=step.outcome,
        failed=step.failed,
        error=step.error,
        attempt=step.attempt,
        undo_place=places.get((step.name, step.attempt)),
        residue=tuple(effect.kind for effect in run.residue.get(step.name, ())),
    )


def _around(
    flow: FlowModel, node: Node, run: Run, attempts: dict[str, list[StepRun]], end: float
) -> Bar:
    """A flow's bar goes from the first step in it that started to the last one that ended."""
    inner = [
        _ran(run, step, "", 0, end, {})
        for n in flow.walk(node.key)
        if n.type is NodeType.TASK
        for step in attempts.get(n.name, ())
    ]
    last = [
        run.latest.get(n.name, StepRun(n.name, Outcome.PENDING))
        for n in flow.walk(node.key)
        if n.type is NodeType.TASK
    ]
    starts = [bar.start for bar in inner if bar.start is not None]
    ends = [bar.end for bar in inner if bar.end is not None]
    undo_starts = [bar.undo_start for bar in inner if bar.undo_start is not None]
    undo_ends = [bar.undo_end for bar in inner if bar.undo_end is not None]
    return Bar(
        name=node.key,
        label=node.text,
        depth=flow.depth(node.key) - 1,
        nests=True,
        start=min(starts, default=None),
        end=max(ends, default=None),
        undo_start=min(undo_starts, default=None),
        undo_end=max(undo_ends, default=None),
        outcome=combined(step.outcome for step in last),
        failed=any(step.failed for step in last),
    )


def _labels(states: InstanceStates) -> tuple[str, str, str]:
    return label(states.vm_state), label(states.task_state), label(states.power_state)


Change = tuple[float, str, str, str, str, str]


def _by_label(changes: Iterable[tuple[float, str, str, InstanceStates]]) -> list[Change]:
    return [(at, trigger, step, *_labels(states)) for at, trigger, step, states in changes]


def _lanes(changes: list[Change], end: float) -> tuple[Lane, ...]:
    """One lane a machine; a span ends where the next change of that machine comes."""
    lanes = []
    for index, name in enumerate(LANES, 3):
        steps: list[Change] = []
        for change in changes:
            if not steps or steps[-1][index] != change[index]:
                steps.append(change)
        ends = [*(change[0] for change in steps[1:]), end]
        spans = tuple(
            Span(str(here[index]), here[0], until, here[1], here[2])
            for here, until in zip(steps, ends, strict=False)
        )
        if spans:
            lanes.append(Lane(name, spans))
    return tuple(lanes)
