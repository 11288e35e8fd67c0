"""State charts as text: each state with the edges that lead out of it, one a line."""

from __future__ import annotations

from collections.abc import Iterator

from buildflow.diagrams.glyphs import columns, padded, shown
from buildflow.diagrams.model import Edge, MachineModel, StateNode
from buildflow.diagrams.overlay import MachineRun, seconds
from buildflow.diagrams.theme import EDGES, STATES


def chart(machine: MachineModel, run: MachineRun | None = None) -> str:
    """All of `machine`; with `run`, what was visited, for how long, and which edges were taken."""
    lines = [shown(f"{machine.name}: {machine.why}" if machine.why else machine.name)]
    if machine.path:
        lines += ["", "The way of a build in which nothing fails", *_path(machine)]
    lines += ["", "States and what leads out of them", *_states(machine, run)]
    lines += ["", *_legend(machine, run)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _path(machine: MachineModel) -> Iterator[str]:
    rows = []
    for place, moment in enumerate(machine.path, 1):
        state = shown(moment.state + (f" / {moment.value}" if moment.value else ""))
        how = "at the beginning"
        if moment.step:
            how = f"{' + '.join(moment.triggers)}, by {moment.step}"
        if moment.box:
            how += f" in {moment.box}"
        rows.append((place, state, shown(how)))
    width = max(columns(state) for _, state, _ in rows)
    for place, state, how in rows:
        yield f"{place:>4}. {padded(state, width)}  {how}"


def _states(machine: MachineModel, run: MachineRun | None) -> Iterator[str]:
    anywhere = {edges[0].dest: edges for edges in machine.from_anywhere.values()}
    names = [shown(state.key) for state in machine.states]
    triggers = {shown(edge.trigger) for edge in machine.edges}
    wide_state = max((columns(name) for name in names), default=0)
    wide_trigger = max((columns(trigger) for trigger in triggers), default=0)
    for state in machine.states:
        yield f"  {_state(machine, state, run)}"
        for edge in machine.leaving[state.key]:
            if edge.trigger in machine.from_anywhere:
                continue
            taken = run.taken.get((edge.trigger, edge.source), ()) if run else ()
            yield _edge(edge, shown(edge.dest), wide_state, wide_trigger, taken)
    if anywhere:
        yield "  from every other state"
        for edges in machine.from_anywhere.values():
            taken = tuple(sorted(p for e in edges for p in _places(run, e)))
            yield _edge(edges[0], shown(edges[0].dest), wide_state, wide_trigger, taken)


def _places(run: MachineRun | None, edge: Edge) -> tuple[int, ...]:
    return run.taken.get((edge.trigger, edge.source), ()) if run else ()


def _state(machine: MachineModel, state: StateNode, run: MachineRun | None) -> str:
    before, after = STATES[state.stability].marks
    words = [state.stability.value]
    if state.key == machine.initial:
        words.append("first")
    text = f"{before}{shown(state.key)}{after} {', '.join(words)}"
    if state.values:
        text += f"; power {', '.join(state.values)}"
    if state.unreached:
        text += f"; legal but never reached: {', '.join(state.unreached)}"
    if state.why:
        text += f": {shown(state.why)}"
    if run is not None:
        if state.key == run.current:
            text = f"> {text} << now, for {seconds(run.visited[state.key])}"
        elif state.key in run.visited:
            text = f"* {text} << here for {seconds(run.visited[state.key])}"
        else:
            text = f"  {text}"
    return text


def _edge(edge: Edge, dest: str, wide_state: int, wide_trigger: int, taken: tuple[int, ...]) -> str:
    parts = []
    if edge.steps:
        parts.append(f"by {'; '.join(edge.steps)}")
    if edge.undo:
        parts.append(f"walked back by {edge.undo}")
    if taken:
        parts.append(f"taken as move {', '.join(map(str, taken))}")
    return (
        f"      {EDGES[edge.kind].arrow:<5}{padded(dest, wide_state)}"
        f"  {padded(shown(edge.trigger), wide_trigger)}  {shown(', '.join(parts))}"
    )


def _legend(machine: MachineModel, run: MachineRun | None) -> Iterator[str]:
    kinds = {edge.kind for edge in machine.edges}
    stabilities = {state.stability for state in machine.states}
    for kind, look in EDGES.items():
        if kind in kinds:
            yield f"{look.arrow:<5} {kind.value}: {look.means}"
    for stability, shape in STATES.items():
        if stability in stabilities:
            sample = f"{shape.marks[0]}s{shape.marks[1]}"
            yield f"{sample:<5} {stability.value}: {shape.means}"
    if run is not None:
        yield "* it has been here    > it is here now"
