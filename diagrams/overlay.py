"""What a build's run says of each node of a flow, and of each state and edge of a machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from buildflow.diagrams.model import Bar, FlowModel, MachineModel, NodeType, Outcome, Run, StepRun

_WORST_FIRST = (
    Outcome.RESIDUE,
    Outcome.UNDOING,
    Outcome.FAILED,
    Outcome.UNDONE,
    Outcome.RUNNING,
)


def combined(outcomes: Iterable[Outcome]) -> Outcome:
    """How a flow stands: as the worst of the steps in it, or how far they have come."""
    found = set(outcomes)
    for worst in _WORST_FIRST:
        if worst in found:
            return worst
    if Outcome.DONE in found:
        return Outcome.RUNNING if Outcome.PENDING in found else Outcome.DONE
    return Outcome.PENDING


@dataclass(frozen=True, slots=True)
class NodeRun:
    """One node in one build: for a flow, what its steps add up to.

    `undo_place` counts the undos that ran; a step without one was only walked back over.
    """

    outcome: Outcome
    failed: bool = False
    seconds: float | None = None
    undo_seconds: float | None = None
    undo_place: int | None = None
    attempts: int = 1
    error: str = ""
    residue: tuple[str, ...] = ()
    has_undo: bool = True
    undo_failed: bool = False

    def words(self) -> str:
        """All of it in a few words, such as `FAILED after 0.42 s, undone 1st in 0.01 s`."""
        parts = []
        if self.failed:
            parts.append("FAILED" + (f" after {seconds(self.seconds)}" if self.seconds else ""))
        elif self.outcome is Outcome.PENDING:
            parts.append("not run")
        else:
            word = "running" if self.outcome is Outcome.RUNNING else "done"
            parts.append(word + (f" {seconds(self.seconds)}" if self.seconds is not None else ""))
        if self.undo_failed:
            parts.append("undo FAILED")
        if self.outcome is Outcome.UNDOING:
            parts.append("undoing")
        if self.outcome is Outcome.UNDONE:
            parts.append(self._undone())
        if self.outcome is Outcome.RESIDUE:
            parts.append("RESIDUE" + (f": {', '.join(self.residue)}" if self.residue else ""))
        if self.attempts > 1:
            parts.append(f"attempt {self.attempts}")
        return ", ".join(parts)

    def _undone(self) -> str:
        if not self.has_undo:
            return "walked back"
        place = f" {ordinal(self.undo_place)}" if self.undo_place else ""
        took = f" in {seconds(self.undo_seconds)}" if self.undo_seconds is not None else ""
        return f"undone{place}{took}"


def bar_words(bar: Bar, *, errors: bool = False) -> str:
    """How the step of a bar went in a few words; with `errors`, what went wrong as well."""
    if bar.start is None:
        return "not run"
    told = f": {bar.error}" if errors and bar.error else ""
    parts = [seconds(bar.end - bar.start) if bar.end is not None else "started"]
    if bar.failed:
        parts.append(f"FAILED{told}")
    if bar.undo_failed:
        parts.append(f"undo FAILED{told}")
    if bar.undo_start is not None and bar.undo_end is not None and (bar.undo_place or bar.nests):
        place = f" {ordinal(bar.undo_place)}" if bar.undo_place else ""
        took = bar.undo_end - bar.undo_start
        parts.append(f"undone{place}" + (f" in {seconds(took)}" if took > 0 else ""))
    if bar.outcome is Outcome.UNDOING:
        parts.append("undoing")
    if bar.outcome is Outcome.RESIDUE:
        parts.append("RESIDUE" + (f": {', '.join(bar.residue)}" if bar.residue else ""))
    return ", ".join(parts)


def seconds(value: float | None) -> str:
    """A duration for people: three figures, the unit always there."""
    if value is None:
        return ""
    if value < 0.0005:
        return "0 ms" if value <= 0 else "<1 ms"
    if value < 0.9995:
        return f"{value * 1000:.0f} ms"
    if value < 9.995:
        return f"{value:.2f} s"
    if value < 99.95:
        return f"{value:.1f} s"
    if value < 3600:
        whole = round(value)
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(value / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th ... 11th ... 21st."""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"


def undo_places(flow: FlowModel, run: Run) -> dict[tuple[str, int], int]:
    """The place of each undo that began, counted from 1, by step and attempt.

    Only steps that have an undo are counted; TaskFlow reverts the others and the retries too, which
    does nothing.
    """
    idle = {node.name for node in flow.nodes if not node.undo}
    begun = [s for s in run.steps if s.undone_at is not None and s.name not in idle]
    begun.sort(key=lambda s: ((s.undone_at or 0.0) - (s.undo_seconds or 0.0), s.undone_at or 0.0))
    return {(step.name, step.attempt): place for place, step in enumerate(begun, 1)}


def node_runs(flow: FlowModel, run: Run) -> dict[str, NodeRun]:
    """What `run` says of each node of `flow`, by key; retries are left out, they run no effect."""
    found: dict[str, NodeRun] = {}
    places = undo_places(flow, run)
    for node in flow.nodes:
        if node.type is NodeType.TASK:
            step = run.latest.get(node.name)
            if step is not None:
                found[node.key] = _of_step(run, step, places, bool(node.undo))
            else:
                found[node.key] = NodeRun(Outcome.PENDING)
    for node in reversed(flow.nodes):
        if node.type is NodeType.FLOW:
            found[node.key] = _of_flow(flow, run, node.key, found)
    return found


def _of_step(
    run: Run, step: StepRun, places: Mapping[tuple[str, int], int], has_undo: bool
) -> NodeRun:
    took = step.seconds
    if took is None and step.outcome is Outcome.RUNNING and step.started is not None:
        took = max(run.now - step.started, 0.0)
    return NodeRun(
        outcome=step.outcome,
        failed=step.failed,
        seconds=took,
        undo_seconds=step.undo_seconds,
        undo_place=places.get((step.name, step.attempt)),
        attempts=step.attempt,
        error=step.error or (run.fault_message if step.failed else ""),
        residue=tuple(effect.kind for effect in run.residue.get(step.name, ())),
        has_undo=has_undo,
        undo_failed=step.undo_failed,
    )


def _of_flow(flow: FlowModel, run: Run, key: str, found: dict[str, NodeRun]) -> NodeRun:
    inner = [n for n in flow.walk(key) if n.type is NodeType.TASK]
    runs = [found[n.key] for n in inner]
    steps = [run.latest[n.name] for n in inner if n.name in run.latest]
    starts = [s.started for s in steps if s.started is not None]
    ends = [s.finished for s in steps if s.finished is not None]
    if any(s.outcome is Outcome.RUNNING for s in steps):
        ends.append(run.now)
    return NodeRun(
        outcome=combined(r.outcome for r in runs),
        failed=any(r.failed for r in runs),
        seconds=max(ends) - min(starts) if starts and ends else None,
        attempts=max((r.attempts for r in runs), default=1),
        residue=tuple(kind for r in runs for kind in r.residue),
        has_undo=any(n.undo for n in inner),
    )


@dataclass(frozen=True, slots=True)
class MachineRun:
    """One machine in one build: the states visited with the time in each, and the edges taken.

    `taken` holds, by (trigger, source), the places at which that edge was taken, counted from 1.
    """

    current: str
    visited: dict[str, float]
    taken: dict[tuple[str, str], tuple[int, ...]]


def machine_run(machine: MachineModel, run: Run, name: str) -> MachineRun:
    """Follow `run`'s history through `machine`; `name` is vm, task, power or joint.

    A line of the history may carry several triggers, joined by `+`.
    """
    edges = {(e.trigger, e.source, e.dest): e for e in machine.edges}
    current, since = machine.initial, 0.0
    visited: dict[str, float] = {current: 0.0}
    taken: dict[tuple[str, str], list[int]] = {}
    place = 0
    for line in run.history:
        after = line.state(name)
        if after == current:
            continue
        at = line.at if line.at is not None else since
        visited[current] = visited.get(current, 0.0) + max(at - since, 0.0)
        triggers = [line.trigger, *line.trigger.split("+")]
        match = next((t for t in triggers if (t, current, after) in edges), None)
        if match is None:
            match = next((t for (t, s, d) in edges if (s, d) == (current, after)), None)
        if match is not None:
            place += 1
            taken.setdefault((match, current), []).append(place)
        current, since = after, at
        visited.setdefault(current, 0.0)
    visited[current] = visited.get(current, 0.0) + max(run.now - since, 0.0)
    return MachineRun(current, visited, {key: tuple(places) for key, places in taken.items()})
