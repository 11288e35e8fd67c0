"""A state machine in Graphviz's language."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from buildflow.diagrams.dot.legend import legend_node
from buildflow.diagrams.dot.syntax import HEADS, attributes, head, label
from buildflow.diagrams.model import Edge, MachineModel, StateNode
from buildflow.diagrams.overlay import MachineRun, seconds
from buildflow.diagrams.theme import EDGES, OUTCOMES, STATES
from buildflow.states import Kind, Stability

ANYWHERE = "from every other state"


def machine_dot(machine: MachineModel, run: MachineRun | None = None) -> str:
    """`machine` with its legend; with `run`, where it has been and what it took."""
    return machines_dot([(machine, run)])


def machines_dot(machines: Sequence[tuple[MachineModel, MachineRun | None]]) -> str:
    """Several machines in one picture, a frame round each, with one legend."""
    title = " ".join(machine.name for machine, _ in machines)
    out = [head(title, rankdir="TB", nodesep=0.45, ranksep=0.5)]
    for number, (machine, run) in enumerate(machines):
        lines = _lines(machine, run, "" if len(machines) == 1 else f"m{number}")
        if len(machines) == 1:
            out.extend(lines)
        else:
            looks = attributes({"label": f"{machine.name} states", "style": "rounded"})
            out.append(f"  subgraph cluster_{number} {{\n  graph {looks};\n")
            out.extend(lines)
            out.append("  }\n")
    out.append(_legend([machine for machine, _ in machines]))
    out.append("}\n")
    return "".join(out)


def _lines(machine: MachineModel, run: MachineRun | None, prefix: str) -> Iterator[str]:
    ids = {state.key: f"{prefix}s{i}" for i, state in enumerate(machine.states)}
    yield f"  {prefix}first {attributes({'shape': 'point', 'width': 0.16, 'label': ''})};\n"
    for state in machine.states:
        values = _state(state)
        values.update(_visited(state, run))
        values["label"] = label(state_lines(state, run))
        yield f"  {ids[state.key]} {attributes(values)};\n"
    yield f"  {prefix}first -> {ids[machine.initial]} [arrowhead=none];\n"
    if machine.from_anywhere:
        looks = attributes({"label": ANYWHERE, "style": "rounded,dotted"})
        yield f"  {prefix}any {looks};\n"
    for edge, sources in drawn_edges(machine):
        source = ids[edge.source] if len(sources) == 1 else f"{prefix}any"
        yield f"  {source} -> {ids[edge.dest]} {attributes(_edge(edge, sources, run))};\n"


def drawn_edges(machine: MachineModel) -> Iterator[tuple[Edge, tuple[Edge, ...]]]:
    """Each edge that gets an arrow, with the edges of the table that the arrow stands for."""
    once: set[str] = set()
    for edge in machine.edges:
        if edge.trigger not in machine.from_anywhere:
            yield edge, (edge,)
        elif edge.trigger not in once:
            once.add(edge.trigger)
            yield edge, machine.from_anywhere[edge.trigger]


def state_lines(state: StateNode, run: MachineRun | None) -> list[str]:
    """What the box of a state says."""
    lines = [state.key, f"({state.stability.value})"]
    if state.values:
        lines += [", ".join(state.values)]
    if run is not None and state.key in run.visited:
        word = "now, for" if state.key == run.current else "here for"
        lines.append(f"{word} {seconds(run.visited[state.key])}")
    return lines


def edge_lines(edge: Edge, sources: tuple[Edge, ...], run: MachineRun | None) -> list[str]:
    """What the label of an edge says: its trigger, the steps that fire it, when it was taken."""
    lines = [edge.trigger]
    if edge.steps:
        lines.append(f"by {'; '.join(edge.steps)}")
    if run is not None:
        places = sorted(p for e in sources for p in run.taken.get((e.trigger, e.source), ()))
        if places:
            lines.append(f"move {', '.join(map(str, places))}")
    return lines


def _state(state: StateNode) -> dict[str, str | float]:
    match state.stability:
        case Stability.TRANSIENT:
            return {"style": "rounded,dashed"}
        case Stability.TERMINAL:
            return {"peripheries": 2}
        case Stability.STUCK:
            return {"shape": "hexagon"}
    return {}


def _visited(state: StateNode, run: MachineRun | None) -> dict[str, str | float]:
    if run is None or state.key not in run.visited:
        return {}
    look = OUTCOMES["running" if state.key == run.current else "done"]
    dashed = "rounded,filled,dashed" if state.stability is Stability.TRANSIENT else "filled"
    return {"style": dashed, "fillcolor": look.fill, "color": look.stroke, "penwidth": 2}


def _edge(edge: Edge, sources: tuple[Edge, ...], run: MachineRun | None) -> dict[str, str | float]:
    look = EDGES[edge.kind]
    values: dict[str, str | float] = {
        # blanks keep it off the line that it belongs to, which runs on its left
        "label": label((f"  {line}  " for line in edge_lines(edge, sources, run)), left=True),
        "color": look.colour,
        "fontcolor": look.colour,
        "penwidth": look.width,
        "arrowhead": HEADS[look.head],
        "style": {"": "solid", "6 4": "dashed", "2 3": "dotted"}[look.dash],
    }
    if edge.kind is Kind.COMPENSATING:
        values["constraint"] = "false"  # the forward edge beside it has placed both its ends
    return values


def _legend(machines: Sequence[MachineModel]) -> str:
    kinds = {edge.kind for machine in machines for edge in machine.edges}
    known = {state.stability for machine in machines for state in machine.states}
    rows = [
        (look.colour, f"{look.arrow:<5} {kind.value}: {look.means}")
        for kind, look in EDGES.items()
        if kind in kinds
    ]
    rows += [
        ("black", f"({stability.value}): {shape.means}")
        for stability, shape in STATES.items()
        if stability in known
    ]
    return legend_node(rows)
