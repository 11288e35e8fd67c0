"""Builds in flight against a new version: which go on, and where the others first differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from buildflow.diagrams.diff.comparison import Verdict
from buildflow.diagrams.diff.sources import Snapshot
from buildflow.diagrams.model import FlowModel, MachineModel, NodeType, Run


@dataclass(frozen=True, slots=True)
class Flight:
    """One build that is not over, and what the new version means for it."""

    id: str
    name: str
    status: str
    verdict: Verdict
    why: str


def flights(
    builds: Iterable[Mapping[str, Any]], old: Snapshot, new: Snapshot
) -> tuple[Flight, ...]:
    """A verdict for each of `builds` that is still in flight."""
    found = []
    for build in builds:
        run = Run.parse(build)
        if not run.over:
            verdict, why = _judge(run, old, new)
            found.append(Flight(run.id, run.name, run.status, verdict, why))
    return tuple(found)


def _judge(run: Run, old: Snapshot, new: Snapshot) -> tuple[Verdict, str]:
    stranded = _stranded(run, new)
    if stranded:
        return Verdict.BREAKS, stranded
    before, after = old.get("flow"), new.get("flow")
    if not isinstance(before, FlowModel) or not isinstance(after, FlowModel):
        return Verdict.SURVIVES, "its states are all known to the new version"
    atoms = {n.name: n for n in after.walk() if n.type is not NodeType.FLOW}
    kinds = {n.name: n.effect for n in before.walk()}
    for effect in run.effects:
        known = atoms.get(effect.step)
        if effect.state in ("intent", "done", "residue") and (
            known is None or known.effect != kinds.get(effect.step, effect.kind)
        ):
            why = (
                f"it has made a {effect.kind} by {effect.step!r}, which the new version can't undo"
            )
            return Verdict.BREAKS, why
    different = _first_difference(before, after)
    if different:
        return Verdict.ROLLS_BACK, f"the first step that differs is {different!r}"
    return Verdict.SURVIVES, "its flow is the same, step by step"


def _stranded(run: Run, new: Snapshot) -> str:
    for name, state in (("vm", run.vm_state), ("task", run.task_state), ("power", run.power_state)):
        machine = new.get(name)
        if isinstance(machine, MachineModel) and state not in machine.by_key:
            return f"its {name} state {state!r} is not known to the new version"
    joint = new.get("joint")
    if isinstance(joint, MachineModel):
        pair = joint.by_key.get(f"{run.vm_state} / {run.task_state}")
        if pair is None or run.power_state not in (*pair.values, *pair.unreached):
            triple = f"{run.vm_state} / {run.task_state} / {run.power_state}"
            return f"{triple} is not legal in the new version"
    return ""


def _first_difference(old: FlowModel, new: FlowModel) -> str:
    def held_to(flow: FlowModel) -> list[tuple[object, ...]]:
        return [
            (n.name, n.definition, n.effect, n.requires, frozenset(n.provides))
            for n in flow.walk()
            if n.type is not NodeType.FLOW
        ]

    then, now = held_to(old), held_to(new)
    for before, after in zip(then, now, strict=False):
        if before != after:
            return str(before[0])
    longer = then if len(then) > len(now) else now
    return str(longer[min(len(then), len(now))][0]) if len(then) != len(now) else ""
