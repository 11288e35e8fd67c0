"""Random models and random TaskFlow flows, with names that no renderer may stumble over."""

from __future__ import annotations

from itertools import chain, count
from typing import Any

from hypothesis import strategies as st
from taskflow.patterns import graph_flow, linear_flow, unordered_flow

from buildflow.diagrams.model import (
    Edge,
    FlowModel,
    Link,
    LinkKind,
    MachineModel,
    Moment,
    Node,
    NodeType,
    Pattern,
    StateNode,
)
from buildflow.states import Kind, Stability
from tests.diagrams.samples import Plain, Undoable

# everything that could be taken for syntax: quotes, brackets, pipes, comments, entities, HTML
_NASTY = st.sampled_from(
    [
        "end", "subgraph", "%%{init}%%", "a\"b", "x|y", "[[z]]", "#35;", "<br/>", "`m`", "1. one",
        "-->", "a, b", "a; b", "by c", "<br/>by d", "needs e", "\\n", "fa:fa-car", "名前", "é",
        "  two  blanks ", "<script>alert(1)</script>", "&amp;", "{}", "retry: r", "a:b", "%", "*x*",
        "undo 1 of y",
    ]
)  # fmt: skip
_ANY = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12
)
names = st.one_of(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), _NASTY, _ANY)
words = st.one_of(st.just(""), names)
_tuples = st.lists(names, max_size=3, unique=True).map(tuple)


@st.composite
def flow_models(draw: st.DrawFn) -> FlowModel:
    """A random flow: a tree of flows with tasks and retries, links forward in its order."""
    keys = draw(st.lists(names, min_size=1, max_size=10, unique=True))
    nodes = [Node(keys[0], keys[0], NodeType.FLOW, pattern=Pattern.LINEAR)]
    ancestors = [keys[0]]
    for key in keys[1:]:
        depth = draw(st.integers(1, len(ancestors)))
        ancestors = ancestors[:depth]
        first = all(node.parent != ancestors[-1] for node in nodes)  # where alone a retry may stand
        kind = draw(st.sampled_from([t for t in NodeType if first or t is not NodeType.RETRY]))
        nodes.append(_node(draw, key, kind, ancestors[-1]))
        if kind is NodeType.FLOW:
            ancestors.append(key)
    return FlowModel(tuple(nodes), tuple(_links(draw, nodes)))


def _node(draw: st.DrawFn, key: str, kind: NodeType, parent: str) -> Node:
    label = draw(words)
    shared: dict[str, Any] = {
        "key": key,
        "name": draw(st.one_of(st.just(key), names)),
        "type": kind,
        "parent": parent,
        "documented": draw(st.booleans()),
    }
    shared["label"] = label if label != shared["name"] else ""
    if kind is NodeType.FLOW:
        return Node(**shared, pattern=draw(st.sampled_from(list(Pattern)[1:])))
    return Node(
        **shared,
        definition=draw(words),
        requires=draw(_tuples),
        provides=draw(_tuples),
        effect=draw(words),
        undo=draw(words) if kind is NodeType.TASK else "",
        no_undo=draw(words),
        undo_after=draw(_tuples),
        on_start=draw(_tuples),
        on_done=draw(_tuples),
    )


def _links(draw: st.DrawFn, nodes: list[Node]) -> list[Link]:
    links: dict[tuple[str, str, LinkKind], Link] = {}
    place = {node.key: i for i, node in enumerate(nodes)}
    if len(nodes) > 2:
        for _ in range(draw(st.integers(0, 6))):
            source, target = sorted(draw(st.tuples(*[st.integers(1, len(nodes) - 1)] * 2)))
            here, there = nodes[source], nodes[target]
            if source == target:
                continue
            kind = draw(st.sampled_from(LinkKind))
            if kind is LinkKind.ORDER and here.parent != there.parent:
                continue
            if kind is LinkKind.DATA and NodeType.FLOW in (here.type, there.type):
                continue
            handed = draw(_tuples.filter(bool)) if kind is LinkKind.DATA else ()
            links[here.key, there.key, kind] = Link(here.key, there.key, kind, handed)
    return sorted(
        links.values(), key=lambda link: (place[link.source], place[link.target], link.kind.value)
    )


@st.composite
def machine_models(draw: st.DrawFn, most: int = 6) -> MachineModel:
    """A random machine; now and then with a trigger that leads somewhere from everywhere."""
    keys = draw(st.lists(names, min_size=1, max_size=most, unique=True))
    states = tuple(
        StateNode(key, draw(st.sampled_from(Stability)), draw(words), draw(_tuples), draw(_tuples))
        for key in keys
    )
    edges: dict[tuple[str, str], Edge] = {}
    for _ in range(draw(st.integers(0, 2 * most))):
        edge = _edge(draw, draw(st.sampled_from(keys)), draw(st.sampled_from(keys)))
        edges.setdefault((edge.trigger, edge.source), edge)
    if draw(st.booleans()):
        model = _edge(draw, keys[0], draw(st.sampled_from(keys)))
        if all(trigger != model.trigger for trigger, _ in edges):
            for source in draw(st.permutations(keys)):
                if source != model.dest:
                    same = Edge(
                        model.trigger, source, model.dest, model.kind, model.why, model.undo,
                        model.undo_why, model.steps,
                    )  # fmt: skip
                    edges[same.trigger, source] = same
    path = tuple(
        Moment(draw(words), draw(_tuples), draw(st.sampled_from(keys)), draw(words), draw(words))
        for _ in range(draw(st.integers(0, 3)))
    )
    return MachineModel(
        name=draw(names),
        initial=draw(st.sampled_from(keys)),
        states=states,
        edges=tuple(draw(st.permutations(list(edges.values())))),
        attribute=draw(words),
        why=draw(words),
        path=path,
    )


def _edge(draw: st.DrawFn, source: str, dest: str) -> Edge:
    return Edge(
        draw(names), source, dest, draw(st.sampled_from(Kind)), draw(words), draw(words),
        draw(words), draw(_tuples),
    )  # fmt: skip


_FLOWS = (linear_flow.Flow, unordered_flow.Flow, graph_flow.Flow)


@st.composite
def taskflow_flows(draw: st.DrawFn) -> Any:
    """A random TaskFlow flow, nested up to three deep, some steps handing results on."""
    nasty = draw(
        st.lists(names.filter(lambda name: not name.startswith("step ")), max_size=9, unique=True)
    )
    free = chain(nasty, (f"step {number}" for number in count()))
    given: list[str] = []

    def make(depth: int) -> Any:
        flow = draw(st.sampled_from(_FLOWS))(next(free))
        linear = isinstance(flow, linear_flow.Flow)
        for number in range(draw(st.integers(1, 3))):
            if depth < 2 and draw(st.booleans()):
                flow.add(make(depth + 1))
                continue
            needs = [given[-1]] if linear and given and draw(st.booleans()) else []
            gives = f"r{len(given)}_{number}" if linear else None
            flow.add(draw(st.sampled_from((Plain, Undoable)))(next(free), needs, gives))
            if gives and depth == 0:
                given.append(gives)
        return flow

    return make(0)
