"""A state machine as a Mermaid flowchart, and back.

A flowchart and not Mermaid's own state diagram, for that one draws every edge alike: here each kind
of edge has its arrow and each kind of state its shape.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from buildflow.diagrams.mermaid.syntax import (
    as_fields,
    beyond_defaults,
    facts_line,
    joined,
    outcome_classes,
    quote,
    read_facts,
    split,
    unquote,
)
from buildflow.diagrams.model import Edge, MachineModel, Moment, StateNode
from buildflow.diagrams.overlay import MachineRun, seconds
from buildflow.diagrams.theme import EDGES, STATES
from buildflow.errors import BadInput
from buildflow.states import Kind, Stability

_STATE_DRAWN: Final = ("key", "stability", "values")
_EDGE_DRAWN: Final = ("trigger", "source", "dest", "kind", "steps")
_BY: Final = "<br/>by "
_POWER: Final = "<br/>power "


def machine_mermaid(machine: MachineModel, run: MachineRun | None = None) -> str:
    """`machine` as a flowchart with its legend; with `run`, where it has been and what it took."""
    told: dict[str, dict[str, Any]] = {"machine": _head(machine)}
    drawn = "".join(_lines(machine, run, "", 0, told))
    return "flowchart TB\n" + drawn + _legend_node([machine]) + facts_line(told)


def machines_mermaid(machines: Sequence[tuple[MachineModel, MachineRun | None]]) -> str:
    """Several machines in one flowchart, a frame round each. This one is only to be looked at."""
    out, links = ["flowchart TB\n"], 0
    for machine, run in machines:
        out.append(f'  subgraph {quote(machine.name)}["{quote(machine.name)} states"]\n')
        lines = list(_lines(machine, run, f"{quote(machine.name)}_", links, {}))
        drawn = [line for line in lines if not line.startswith(_AFTER_END)]
        out += [*drawn, "  end\n", *(line for line in lines if line.startswith(_AFTER_END))]
        links += 1 + sum(1 for _ in _drawn(machine, {s.key: "" for s in machine.states}))
    return "".join(out) + _legend_node([machine for machine, _ in machines])


_AFTER_END: Final = ("  linkStyle ", "  classDef ", "  class ")


def _lines(
    machine: MachineModel,
    run: MachineRun | None,
    prefix: str,
    first_link: int,
    told: dict[str, dict[str, Any]],
) -> Iterator[str]:
    """The chart; what it does not show goes into `told`."""
    ids = {state.key: f"{prefix}s{i}" for i, state in enumerate(machine.states)}
    for state in machine.states:
        told[ids[state.key]] = beyond_defaults(state, _STATE_DRAWN)
        yield from _state(ids[state.key], state, run)
    yield f"  {prefix}first(( )) --- {ids[machine.initial]}\n"
    kinds: list[Kind] = []
    if machine.from_anywhere:
        yield f'  {prefix}any>"from every other state"]\n'
    for number, (place, edge, source) in enumerate(_drawn(machine, ids)):
        extra = beyond_defaults(edge, _EDGE_DRAWN)
        if source == "any":
            every = machine.from_anywhere[edge.trigger]
            extra["from"] = [ids[e.source] for e in every]
            extra["at"] = [i for i, e in enumerate(machine.edges) if e.trigger == edge.trigger]
            source = f"{prefix}any"
        elif place != number:
            extra["at"] = [place]
        told[f"e{number}"] = extra
        label = quote(edge.trigger) + (f"{_BY}{joined(edge.steps, ',')}" if edge.steps else "")
        label += _taken(machine, edge, run)
        yield f'  {source} {EDGES[edge.kind].arrow}|"{label}"| {ids[edge.dest]}\n'
        kinds.append(edge.kind)
    yield from _looks(machine, ids, kinds, run, first_link)


def _head(machine: MachineModel) -> dict[str, Any]:
    path = [[m.step, list(m.triggers), m.state, m.box, m.value] for m in machine.path]
    head: dict[str, Any] = {"name": machine.name, "attribute": machine.attribute}
    return {**head, "why": machine.why, "path": path}


def _drawn(machine: MachineModel, ids: Mapping[str, str]) -> Iterator[tuple[int, Edge, str]]:
    """Each edge that gets an arrow: its place in the table, itself, and where it is drawn from."""
    once: set[str] = set()
    for place, edge in enumerate(machine.edges):
        if edge.trigger not in machine.from_anywhere:
            yield place, edge, ids[edge.source]
        elif edge.trigger not in once:
            once.add(edge.trigger)
            yield place, edge, "any"


def _state(name: str, state: StateNode, run: MachineRun | None) -> Iterator[str]:
    before, after = STATES[state.stability].marks
    label = quote(state.key)
    if state.values:
        label += _POWER + joined(state.values, ",")
    if run is not None and state.key in run.visited:
        word = "now, for" if state.key == run.current else "here for"
        label += f"<br/>#171; {word} {quote(seconds(run.visited[state.key]))} #187;"
    yield f'  {name}{before}"{label}"{after}\n'


def _taken(machine: MachineModel, edge: Edge, run: MachineRun | None) -> str:
    if run is None:
        return ""
    same = machine.from_anywhere.get(edge.trigger, (edge,))
    places = sorted(p for e in same for p in run.taken.get((e.trigger, e.source), ()))
    return f"<br/>#171; move {joined(map(str, places), ',')} #187;" if places else ""


def _looks(
    machine: MachineModel,
    ids: Mapping[str, str],
    kinds: list[Kind],
    run: MachineRun | None,
    first_link: int,
) -> Iterator[str]:
    # links are numbered as they are written, from the one that leaves `first`
    for kind in dict.fromkeys(kinds):
        numbers = [first_link + 1 + i for i, k in enumerate(kinds) if k is kind]
        width = EDGES[kind].width
        looks = f"stroke:{EDGES[kind].colour},stroke-width:{width}px"
        yield f"  linkStyle {','.join(map(str, numbers))} {looks}\n"
    yield "  classDef transient stroke-dasharray:4 3\n"
    transient = [ids[s.key] for s in machine.states if s.stability is Stability.TRANSIENT]
    if transient:
        yield f"  class {','.join(transient)} transient\n"
    if run is not None:
        yield from outcome_classes(("done", "running"))
        been = [ids[key] for key in run.visited if key != run.current and key in ids]
        if been:
            yield f"  class {','.join(been)} done\n"
        if run.current in ids:
            yield f"  class {ids[run.current]} running\n"


_ARROW_WORDS: Final = {
    Kind.FORWARD: "thick arrow",
    Kind.COMPENSATING: "dotted arrow",
    Kind.FAILING: "ending in a cross",
    Kind.DELETING: "ending in a dot",
    Kind.REPORTED: "thin arrow",
}
_BOX_WORDS: Final = {
    Stability.STABLE: "plain box",
    Stability.TRANSIENT: "dashed box",
    Stability.TERMINAL: "double sides",
    Stability.STUCK: "hexagon",
}


def _legend_node(machines: Sequence[MachineModel]) -> str:
    """What arrows and boxes mean, as one box without a border."""
    kinds = {edge.kind for machine in machines for edge in machine.edges}
    known = {state.stability for machine in machines for state in machine.states}
    words = [f"{_ARROW_WORDS[kind]}: {kind.value}" for kind in Kind if kind in kinds]
    words += [f"{_BOX_WORDS[each]}: {each.value}" for each in Stability if each in known]
    # two in a line, with blanks at which Mermaid does not break it
    pairs = [words[i : i + 2] for i in range(0, len(words), 2)]
    lines = [" \u00b7 ".join(map(quote, pair)).replace(" ", "\u00a0") for pair in pairs]
    return (
        f'  legend["{"<br/>".join(lines)}"]\n'
        "  classDef legend stroke:none,fill:none,text-align:left\n  class legend legend\n"
    )


# --- and back ------------------------------------------------------------------------------------

_SHAPES: Final = {look.marks[0]: stability for stability, look in STATES.items()}
_BOX: Final = re.compile(r'^(s\d+)(\[\[|\[|\(|\{\{)"(.*)"(?:\]\]|\]|\)|\}\})$')
_ARROWS: Final = {look.arrow: kind for kind, look in EDGES.items()}
_EDGE: Final = re.compile(rf'^(s\d+|any) ({"|".join(map(re.escape, _ARROWS))})\|"(.*)"\| (s\d+)$')
_FIRST: Final = re.compile(r"^first\(\( \)\) --- (s\d+)$")


def read_machine(text: str) -> MachineModel:
    """The machine that `machine_mermaid` drew, without a run over it. Raises BadInput otherwise."""
    lines = [line.strip() for line in text.split("\n")]
    known = read_facts(lines)
    head = known.get("machine")
    if lines[0] != "flowchart TB" or head is None:
        raise BadInput("not Mermaid of ours: it has no machine")
    states: dict[str, StateNode] = {}
    edges: dict[int, Edge] = {}
    initial, number = "", 0
    for line in lines:
        if match := _BOX.match(line):
            key, _, values = match.group(3).partition(_POWER)
            states[match.group(1)] = StateNode(
                key=unquote(key),
                stability=_SHAPES[match.group(2)],
                values=split(values, ","),
                **as_fields(known.get(match.group(1), {})),
            )
        elif match := _FIRST.match(line):
            initial = states[match.group(1)].key
        elif match := _EDGE.match(line):
            _read_edge(match, number, known.get(f"e{number}", {}), states, edges)
            number += 1
    path = tuple(
        Moment(step, tuple(triggers), state, box, value)
        for step, triggers, state, box, value in head["path"]
    )
    try:
        return MachineModel(
            name=head["name"],
            initial=initial,
            states=tuple(states.values()),
            edges=tuple(edges[place] for place in sorted(edges)),
            attribute=head["attribute"],
            why=head["why"],
            path=path,
        )
    except ValueError as error:
        raise BadInput(f"not Mermaid of ours: {error}") from None


def _read_edge(
    match: re.Match[str],
    number: int,
    known: Mapping[str, Any],
    states: Mapping[str, StateNode],
    edges: dict[int, Edge],
) -> None:
    extra = as_fields(dict(known))
    places = extra.pop("at", (number,))
    sources = extra.pop("from", (match.group(1),))
    trigger, _, steps = match.group(3).partition(_BY)
    for place, source in zip(places, sources, strict=True):
        edges[place] = Edge(
            trigger=unquote(trigger),
            source=states[source].key,
            dest=states[match.group(4)].key,
            kind=_ARROWS[match.group(2)],
            steps=split(steps, ","),
            **extra,
        )
