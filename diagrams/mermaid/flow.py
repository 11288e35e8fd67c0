"""A flow as a Mermaid flowchart, and a flowchart of ours as a flow again.

Thick arrows say what comes next, with the results that it takes over; dotted ones are the way back.
A result that comes from farther away is named in the box that needs it: an arrow across all that
lies between would only hide it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

from buildflow.diagrams.glyphs import shown
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
from buildflow.diagrams.model import FlowModel, Link, LinkKind, Node, NodeType, Pattern
from buildflow.diagrams.overlay import NodeRun
from buildflow.diagrams.theme import OUTCOMES, PATTERN_WORDS, outcome_name
from buildflow.errors import BadInput

_DRAWN: Final = ("key", "name", "type", "parent", "label", "pattern", "undo")
_SHAPES: Final = {NodeType.TASK: ('["', '"]'), NodeType.RETRY: ('{{"', '"}}')}
_RETRY: Final = "retry: "
_NEEDS: Final = "<br/>needs "
_UNDO_OF: Final = "<br/>"
_BREAK: Final = "<br/>= "


def flow_mermaid(flow: FlowModel, runs: Mapping[str, NodeRun] | None = None) -> str:
    """`flow` as a flowchart; with `runs`, how each step went in its box and by its class."""
    return "".join(_lines(flow, runs or {}))


def _lines(flow: FlowModel, runs: Mapping[str, NodeRun]) -> Iterator[str]:
    ids = {node.key: f"n{i}" for i, node in enumerate(flow.nodes)}
    told: dict[str, dict[str, Any]] = {}
    yield "flowchart TB\n"
    yield from _nodes(flow, ids, runs, told)
    near = _near(flow)
    for node in flow.nodes:  # a retry stands above all that it tries again
        if node.type is NodeType.RETRY:
            for first in flow.children(node.parent or "")[1:2]:
                yield f"  {ids[node.key]} -.- {ids[first.key]}\n"
    for link in flow.order_links():
        label = _results(near.get((link.source, link.target), ()))
        yield f"  {ids[link.source]} ==>{label} {ids[link.target]}\n"
    yield from _way_back(flow, ids)
    yield from _classes(flow, ids, runs)
    yield facts_line(told)


def _near(flow: FlowModel) -> dict[tuple[str, str], tuple[str, ...]]:
    """The results that are handed over to what comes next."""
    ordered = {(link.source, link.target) for link in flow.order_links()}
    return {
        (link.source, link.target): link.names
        for link in flow.data_links()
        if (link.source, link.target) in ordered
    }


def _results(names: tuple[str, ...]) -> str:
    return f'|"{joined(names, ",")}"|' if names else ""


def _from_afar(flow: FlowModel) -> dict[str, list[Link]]:
    """The results that each step gets from farther away."""
    near, found = _near(flow), dict[str, list[Link]]()
    for link in flow.data_links():
        if (link.source, link.target) not in near:
            found.setdefault(link.target, []).append(link)
    return found


def _nodes(
    flow: FlowModel,
    ids: Mapping[str, str],
    runs: Mapping[str, NodeRun],
    told: dict[str, dict[str, Any]],
) -> Iterator[str]:
    """The boxes, nested; what no box shows goes into `told`."""
    open_flows: list[str] = []
    afar = _from_afar(flow)
    for node in flow.nodes:
        while open_flows and open_flows[-1] != node.parent:
            open_flows.pop()
            yield "  " * (len(open_flows) + 1) + "end\n"
        pad = "  " * (len(open_flows) + 1)
        name = ids[node.key]
        extra = beyond_defaults(node, _DRAWN)
        if node.key != node.name:
            extra["key"] = node.key
        if node.label:
            extra["name"] = node.name
        text = quote(node.text)
        if node.key in afar:
            text += _NEEDS + joined((n for link in afar[node.key] for n in link.names), ",")
            extra["from"] = [[ids[link.source], len(link.names)] for link in afar[node.key]]
        told[name] = extra
        text += _run_text(runs.get(node.key))
        if node.type is NodeType.FLOW:
            words = PATTERN_WORDS[node.pattern]
            # Mermaid breaks no title, and draws a wide one over the edge of its parent
            title = text.replace(" = ", _BREAK)
            yield f'{pad}subgraph {name}["{title}<br/>({words})"]\n'
            open_flows.append(node.key)
        else:
            before, after = _SHAPES[node.type]
            start = _RETRY if node.type is NodeType.RETRY else ""
            yield f"{pad}{name}{before}{start}{text}{after}\n"
    while open_flows:
        open_flows.pop()
        yield "  " * (len(open_flows) + 1) + "end\n"


def _run_text(run: NodeRun | None) -> str:
    if run is None:
        return ""
    mark = OUTCOMES[outcome_name(run.outcome, run.failed)].mark
    return f"<br/>{mark} {quote(shown(run.words()))}"


def _way_back(flow: FlowModel, ids: Mapping[str, str]) -> Iterator[str]:
    """An undo for each step that has one, in a chain: a rollback runs them in this order."""
    back = flow.way_back()
    if not back:
        return
    yield '  subgraph undo["the way back"]\n'
    for place, node in back:
        of = quote(node.text)
        yield f'    u{ids[node.key]}(["undo {place} of {of}{_UNDO_OF}{quote(node.undo)}"])\n'
    yield "  end\n"
    ranks: dict[int, list[str]] = {}
    for place, node in back:
        ranks.setdefault(place, []).append(f"u{ids[node.key]}")
    ordered = [ranks[place] for place in sorted(ranks)]
    for here, then in pairwise(ordered):
        yield f"  {' & '.join(here)} -.-> {' & '.join(then)}\n"


def _classes(flow: FlowModel, ids: Mapping[str, str], runs: Mapping[str, NodeRun]) -> Iterator[str]:
    yield "  classDef undo stroke-dasharray:6 4\n"
    undone = [f"u{ids[node.key]}" for _, node in flow.way_back()]
    if undone:
        yield f"  class {','.join(undone)} undo\n"
    used: dict[str, list[str]] = {}
    for key, run in runs.items():
        if flow.by_key[key].type is not NodeType.FLOW:
            used.setdefault(outcome_name(run.outcome, run.failed), []).append(ids[key])
    yield from outcome_classes(used)
    for look, names in used.items():
        yield f"  class {','.join(names)} {look}\n"


# --- and back ------------------------------------------------------------------------------------

_SUBGRAPH: Final = re.compile(r'^subgraph (n\d+)\["(.*)<br/>\(([^()]*)\)"\]$')
_BOX: Final = re.compile(r'^(n\d+)(\["|\{\{")(.*)("\]|"\}\})$')
_UNDO: Final = re.compile(r'^u(n\d+)\(\["undo \d+ of [^<]*<br/>(.*)"\]\)$')
_LINK: Final = re.compile(r'^(n\d+) ==>(?:\|"(.*)"\|)? (n\d+)$')


def read_flow(text: str) -> FlowModel:
    """The flow that `flow_mermaid` drew, without a run over it. Raises BadInput for other text."""
    lines = [line.strip() for line in text.split("\n")]
    if lines[0] != "flowchart TB":
        raise BadInput("not Mermaid of ours: it does not begin with `flowchart TB`")
    known = read_facts(lines)
    undos = {m.group(1): unquote(m.group(2)) for line in lines if (m := _UNDO.match(line))}
    nodes: list[Node] = []
    keys: dict[str, str] = {}
    links: list[Link] = []
    open_flows: list[str | None] = []
    for line in lines:
        if line.startswith('subgraph undo["'):
            open_flows.append(None)
        elif line == "end":
            open_flows.pop()
        elif match := _SUBGRAPH.match(line):
            pattern = _pattern(match.group(3))
            text_ = unquote(match.group(2).replace(_BREAK, " = "))
            parent = _parent(open_flows, keys)
            node = _node(match.group(1), text_, NodeType.FLOW, parent, known, pattern=pattern)
            keys[match.group(1)] = node.key
            nodes.append(node)
            open_flows.append(match.group(1))
        elif match := _BOX.match(line):
            name, shape, label = match.group(1), match.group(2), match.group(3)
            kind = NodeType.RETRY if shape == '{{"' else NodeType.TASK
            label = label.removeprefix(_RETRY) if kind is NodeType.RETRY else label
            label = label.partition(_NEEDS)[0]
            node = _node(
                name,
                unquote(label),
                kind,
                _parent(open_flows, keys),
                known,
                undo=undos.get(name, ""),
            )
            keys[name] = node.key
            nodes.append(node)
        elif match := _LINK.match(line):
            ends = keys[match.group(1)], keys[match.group(3)]
            links.append(Link(*ends, LinkKind.ORDER))
            if match.group(2) is not None:
                links.append(Link(*ends, LinkKind.DATA, split(match.group(2), ",")))
    links += _read_from_afar(lines, known, keys)
    place = {node.key: i for i, node in enumerate(nodes)}
    links.sort(key=lambda link: (place[link.source], place[link.target], link.kind.value))
    try:
        return FlowModel(tuple(nodes), tuple(links))
    except ValueError as error:
        raise BadInput(f"not Mermaid of ours: {error}") from None


def _read_from_afar(
    lines: list[str], known: Mapping[str, dict[str, Any]], keys: Mapping[str, str]
) -> Iterator[Link]:
    for line in lines:
        match = _BOX.match(line)
        if match and _NEEDS in match.group(3):
            names = split(match.group(3).partition(_NEEDS)[2], ",")
            at = 0
            for source, count in known[match.group(1)]["from"]:
                ends = keys[source], keys[match.group(1)]
                yield Link(*ends, LinkKind.DATA, names[at : at + count])
                at += count


def _parent(open_flows: list[str | None], keys: Mapping[str, str]) -> str | None:
    return keys[open_flows[-1]] if open_flows and open_flows[-1] is not None else None


def _pattern(words: str) -> Pattern:
    for pattern, known in PATTERN_WORDS.items():
        if known == words:
            return pattern
    raise BadInput(f"not Mermaid of ours: a flow is drawn as {words!r}")


def _node(
    name: str,
    text: str,
    kind: NodeType,
    parent: str | None,
    known: Mapping[str, dict[str, Any]],
    *,
    pattern: Pattern = Pattern.NONE,
    undo: str = "",
) -> Node:
    extra = as_fields(known.get(name, {}))
    extra.pop("from", None)
    labelled = "name" in extra
    own = extra.pop("name", text)
    key = extra.pop("key", own)
    return Node(
        key=key,
        name=own,
        type=kind,
        parent=parent,
        label=text if labelled else "",
        pattern=pattern,
        undo=undo,
        **extra,
    )
