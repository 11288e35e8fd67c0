"""The execution graph in Graphviz's language: flows as clusters, the way back beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from buildflow.diagrams.dot.legend import legend_node, outcome_rows
from buildflow.diagrams.dot.syntax import attributes, head, label, outcome_attributes
from buildflow.diagrams.model import FlowModel, LinkKind, Node, NodeType
from buildflow.diagrams.overlay import NodeRun
from buildflow.diagrams.selection import box_text
from buildflow.diagrams.theme import EDGES, PATTERN_WORDS, outcome_name
from buildflow.states import Kind

_NEXT = EDGES[Kind.FORWARD].colour
_BACK = EDGES[Kind.COMPENSATING].colour
_DATA = "#0b6e6e"


def flow_dot(flow: FlowModel, runs: Mapping[str, NodeRun] | None = None) -> str:
    """`flow`; with `runs`, how each step went in its box."""
    return "".join(_lines(flow, runs or {}))


def _lines(flow: FlowModel, runs: Mapping[str, NodeRun]) -> Iterator[str]:
    ids = {node.key: f"n{i}" for i, node in enumerate(flow.nodes)}
    apart: dict[str, str | float] = {"nodesep": 0.3, "ranksep": 0.35}
    yield head(flow.name, rankdir="TB", compound="true", newrank="true", **apart)
    yield from _nodes(flow, ids, runs)
    for link in flow.links:
        if link.kind is LinkKind.DATA:
            words = label([f"  {', '.join(link.names)}  "], left=True)
            values = {"label": words, "color": _DATA, "fontcolor": _DATA}
            yield f"  {ids[link.source]} -> {ids[link.target]} {attributes(values)};\n"
        else:
            yield _order(flow, ids, link.source, link.target)
    for node in flow.nodes:  # a retry stands above all that it tries again
        if node.type is NodeType.RETRY:
            for other in flow.children(node.parent or "")[1:2]:
                yield f"  {ids[node.key]} -> {ids[_first(flow, other).key]} [style=invis];\n"
    yield from _way_back(flow, ids)
    rows = [(_NEXT, "thick: what comes next"), (_DATA, "thin: a result, with its name")]
    rows.append((_BACK, "dashed: the way back, undos in this order"))
    used = [outcome_name(run.outcome, run.failed) for run in runs.values()]
    yield legend_node([*rows, *outcome_rows(used)])
    yield "}\n"


def _nodes(flow: FlowModel, ids: Mapping[str, str], runs: Mapping[str, NodeRun]) -> Iterator[str]:
    open_flows: list[str] = []
    for node in flow.nodes:
        while open_flows and open_flows[-1] != node.parent:
            open_flows.pop()
            yield "  " * (len(open_flows) + 1) + "}\n"
        pad = "  " * (len(open_flows) + 1)
        run = runs.get(node.key)
        lines = [box_text(node), *([run.words()] if run else [])]
        if node.type is NodeType.FLOW:
            lines.append(f"({PATTERN_WORDS[node.pattern]})")
            retried = any(c.type is NodeType.RETRY for c in flow.children(node.key))
            style = "rounded,dashed,bold" if retried else "rounded"
            looks = attributes({"label": label(lines, left=True), "style": style, "labeljust": "l"})
            yield f"{pad}subgraph cluster_{ids[node.key]} {{\n{pad}  graph {looks};\n"
            if not flow.children(node.key):  # a cluster is drawn only round something
                yield f"{pad}  {ids[node.key]} [shape=point, style=invis];\n"
            open_flows.append(node.key)
            continue
        values: dict[str, str | float] = {"label": label(lines)}
        if run is not None:
            values.update(outcome_attributes(outcome_name(run.outcome, run.failed)))
        if node.type is NodeType.RETRY:
            values["shape"] = "hexagon"
        yield f"{pad}{ids[node.key]} {attributes(values)};\n"
    while open_flows:
        open_flows.pop()
        yield "  " * (len(open_flows) + 1) + "}\n"


def _order(flow: FlowModel, ids: Mapping[str, str], source: str, target: str) -> str:
    values: dict[str, str | float] = {"color": _NEXT, "penwidth": 2}
    start, end = source, target
    if flow.by_key[source].type is NodeType.FLOW:
        values["ltail"] = f"cluster_{ids[source]}"
        start = _last(flow, flow.by_key[source]).key
    if flow.by_key[target].type is NodeType.FLOW:
        values["lhead"] = f"cluster_{ids[target]}"
        end = _first(flow, flow.by_key[target]).key
    return f"  {ids[start]} -> {ids[end]} {attributes(values)};\n"


def _first(flow: FlowModel, node: Node) -> Node:
    """The node farthest up in `node`, at which an arrow enters its cluster."""
    while flow.children(node.key):
        node = flow.children(node.key)[0]
    return node


def _last(flow: FlowModel, node: Node) -> Node:
    """The node farthest down in `node`, from which an arrow leaves its cluster."""
    while flow.children(node.key):
        node = flow.children(node.key)[-1]
    return node


def _way_back(flow: FlowModel, ids: Mapping[str, str]) -> Iterator[str]:
    ranks: dict[int, list[str]] = {}
    for place, node in flow.way_back():
        name = f"u{ids[node.key]}"
        ranks.setdefault(place, []).append(name)
        looks = {
            "label": label([f"undo {place} of {node.text}", node.undo]),
            "style": "rounded,dashed",
            "color": _BACK,
        }
        yield f"  {name} {attributes(looks)};\n"
        # each stands beside its step, so that a rollback goes up as the build came down
        yield f"  {{rank=same; {ids[node.key]}; {name}}}\n"
        beside = attributes({"style": "dotted", "color": _BACK, "dir": "none"})
        yield f"  {ids[node.key]} -> {name} {beside};\n"
    ordered = [ranks[place] for place in sorted(ranks)]
    for here, then in pairwise(ordered):
        for first in here:
            for second in then:
                looks = {"style": "dashed", "color": _BACK, "constraint": "false"}
                yield f"  {first} -> {second} {attributes(looks)};\n"
