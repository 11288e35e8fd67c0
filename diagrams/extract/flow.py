"""A TaskFlow flow as a FlowModel: compiled as an engine would, then read from the graph.

TaskFlow's graph keeps its nodes in the order in which sets were walked, which varies with the hash
seed. Everything here is therefore ordered anew: linear flows by their links, and what has no order
by name, numbers by their value.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from typing import Any

import networkx as nx
from taskflow import exceptions as tf_errors
from taskflow import flow as tf_flow
from taskflow import task as tf_task
from taskflow.engines.action_engine.compiler import FLOW, RETRY, PatternCompiler, Terminator
from taskflow.engines.action_engine.scopes import ScopeWalker
from taskflow.patterns import graph_flow, linear_flow, unordered_flow

from buildflow.diagrams.documented import DOCUMENTED
from buildflow.diagrams.model import FlowModel, Link, LinkKind, Node, NodeType, Pattern
from buildflow.errors import BadInput, DefinitionError
from buildflow.states import power

_PATTERNS: tuple[tuple[type[Any], Pattern], ...] = (
    (linear_flow.Flow, Pattern.LINEAR),
    (unordered_flow.Flow, Pattern.UNORDERED),
    (graph_flow.Flow, Pattern.GRAPH),
)


def find_flow(where: str, **inputs: Any) -> Any:
    """The flow that `package.module:factory` names; the factory is called with `inputs`.

    Raises BadInput when there is no such thing, or when it is no flow.
    """
    module_name, _, attribute = where.partition(":")
    if not module_name or not attribute:
        raise BadInput(f"{where!r} names no flow: write package.module:factory")
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise BadInput(f"{where!r} names no flow: {error}") from None
    if callable(found) and not isinstance(found, tf_flow.Flow | tf_task.Task):
        try:
            found = found(**inputs)
        except TypeError as error:
            raise BadInput(
                f"{where!r} can't make its flow from {sorted(inputs)}: {error}"
            ) from None
    if not isinstance(found, tf_flow.Flow | tf_task.Task):
        raise BadInput(f"{where!r} is a {type(found).__name__}, not a TaskFlow flow")
    return found


def extract_flow(flow: Any) -> FlowModel:
    """The model of a TaskFlow flow. Raises DefinitionError when it does not compile."""
    try:
        compilation = PatternCompiler(flow).compile()
    except (tf_errors.TaskFlowException, ValueError, TypeError) as error:
        name = getattr(flow, "name", flow)
        reason = " ".join(str(error).split())
        raise DefinitionError(f"flow {name!r} does not compile: {reason}") from error
    order = _Ordering(compilation)
    items = list(order.walk(compilation.hierarchy))
    keys = _keys([item for item, _, _ in items])
    nodes = tuple(
        _node(item, kind, keys, keys[parent] if parent is not None else None)
        for item, kind, parent in items
    )
    place = {node.key: i for i, node in enumerate(nodes)}
    links = [*_order_links(order, items, keys), *_data_links(compilation, items, keys)]
    links.sort(key=lambda link: (place[link.source], place[link.target], link.kind.value))
    return FlowModel(nodes, tuple(links))


class _Ordering:
    """The children of each flow in a fixed order, and the links between them."""

    def __init__(self, compilation: Any) -> None:
        self._owner: dict[Any, Any] = {}  # an atom or a flow -> the flow that it is nested in
        self._links: dict[Any, set[tuple[Any, Any]]] = {}
        for tree_node in compilation.hierarchy.bfs_iter(include_self=True):
            for child in tree_node:
                self._owner[child.item] = tree_node.item
        for source, target in compilation.execution_graph.edges:
            left = source.flow if isinstance(source, Terminator) else source
            # an edge into a flow's beginning or out of its end joins two siblings; one from a
            # flow's beginning, or into its end, only says what is nested in it
            if isinstance(target, Terminator) or self._owner.get(left) is not self._owner.get(
                target
            ):
                continue
            if isinstance(source, tf_flow.Flow) or left is target:
                continue
            self._links.setdefault(self._owner.get(left), set()).add((left, target))

    def walk(self, tree_node: Any, parent: Any = None) -> Iterator[tuple[Any, str, Any]]:
        """(item, kind, parent) depth first, in the order of running."""
        item = tree_node.item
        yield item, tree_node.metadata["kind"], parent
        by_item = {child.item: child for child in tree_node}
        retries = [i for i, child in by_item.items() if child.metadata["kind"] == RETRY]
        graph = nx.DiGraph()
        graph.add_nodes_from(i for i in by_item if i not in retries)
        graph.add_edges_from(self.links(item))
        for retry in retries:
            graph.add_edges_from((retry, i) for i in by_item if i is not retry)
        for child in nx.lexicographical_topological_sort(graph, key=lambda i: _natural(i.name)):
            yield from self.walk(by_item[child], item)

    def links(self, flow: Any) -> set[tuple[Any, Any]]:
        """The links between what is nested directly in `flow`, its retry left out."""
        return {
            (a, b) for a, b in self._links.get(flow, ()) if a is not getattr(flow, "retry", None)
        }


def _natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts `port:2` before `port:10`."""
    parts = re.split(r"(\d+)", name)
    return tuple((1, int(p), p) if p.isdecimal() else (0, 0, p) for p in parts)


def _keys(items: list[Any]) -> dict[Any, str]:
    """Each item's name, with a number where two share one (TaskFlow lets flows do that)."""
    keys: dict[Any, str] = {}
    used: set[str] = set()
    names = {item.name for item in items}
    for item in items:
        key, number = item.name, 1
        while key in used or (number > 1 and key in names):
            number += 1
            key = f"{item.name}#{number}"
        used.add(key)
        keys[item] = key
    return keys


def _node(item: Any, kind: str, keys: dict[Any, str], parent: str | None) -> Node:
    if kind == FLOW:
        pattern = next((p for cls, p in _PATTERNS if isinstance(item, cls)), Pattern.GRAPH)
        return Node(
            key=keys[item],
            name=item.name,
            type=NodeType.FLOW,
            parent=parent,
            label=_label(item),
            pattern=pattern,
            documented=_documented(item),
        )
    undo, no_undo = _undo(item, kind)
    return Node(
        key=keys[item],
        name=item.name,
        type=NodeType.RETRY if kind == RETRY else NodeType.TASK,
        parent=parent,
        label=_label(item),
        documented=_documented(item),
        definition=f"{type(item).__module__}:{type(item).__qualname__}",
        requires=tuple(sorted(map(str, item.requires))),
        provides=_provides(item),
        effect=getattr(item, "kind", None) or "",
        undo=undo,
        no_undo=no_undo,
        undo_after=tuple(getattr(item, "undo_after", ())),
        on_start=tuple(getattr(item, "on_start", ())),
        on_done=_on_done(item),
    )


def _on_done(item: Any) -> tuple[str, ...]:
    """What it fires when it is done.

    The last step of a build names its triggers apart, for it fires them in a commit of its own. And
    a guest that was started runs: that is a report of the hypervisor, which no step can declare.
    """
    own = (*getattr(item, "on_done", ()), *getattr(item, "triggers", ()))
    started = getattr(item, "kind", None) == "guest"
    return (*own, power.report_trigger(power.RUNNING)) if started else own


def _label(item: Any) -> str:
    label = getattr(item, "label", None)
    return label if isinstance(label, str) and label != item.name else ""


def _documented(item: Any) -> bool:
    declared = getattr(item, "documented", None)
    return declared if isinstance(declared, bool) else item.name in DOCUMENTED


def _provides(item: Any) -> tuple[str, ...]:
    """What is provided in the order in which it is declared, which TaskFlow's set has lost."""
    places = {name: index for name, index in item.save_as.items() if index is not None}
    named = sorted(places, key=lambda name: (str(places[name]), name))
    return tuple(map(str, [*named, *sorted(set(item.provides) - set(named))]))


def _undo(item: Any, kind: str) -> tuple[str, str]:
    """(what its undo does, why it has none), as a step declares it or a plain task shows it."""
    if kind == RETRY:
        return "", ""
    no_undo = getattr(item, "no_undo", "") or ""
    if no_undo:
        return "", no_undo
    told = getattr(item, "undo_label", "") or ""
    if told:
        return told, ""
    effect = getattr(item, "kind", None)
    if effect:
        return f"remove the {effect}", ""
    if type(item).revert is not tf_task.Task.revert and not isinstance(item, tf_task.FunctorTask):
        doc = (type(item).revert.__doc__ or "").strip()
        return (doc.splitlines()[0].rstrip(".") if doc else "revert"), ""
    functor = getattr(item, "_revert", None)
    if functor is not None:
        return getattr(functor, "__name__", "revert"), ""
    return "", ""


Items = list[tuple[Any, str, Any]]


def _order_links(order: _Ordering, items: Items, keys: dict[Any, str]) -> Iterator[Link]:
    for item, kind, _ in items:
        if kind == FLOW:
            for source, target in order.links(item):
                yield Link(keys[source], keys[target], LinkKind.ORDER)


def _data_links(compilation: Any, items: Items, keys: dict[Any, str]) -> Iterator[Link]:
    """Who gives each atom what it needs: the nearest provider in TaskFlow's own scoping."""
    providers: dict[str, set[Any]] = {}
    for item, kind, _ in items:
        if kind != FLOW:
            for name in item.provides:
                providers.setdefault(name, set()).add(item)
    for item, kind, _ in items:
        if kind == FLOW:
            continue
        wanted = {name for name in item.requires | item.optional if name in providers}
        if not wanted:
            continue
        found: dict[Any, list[str]] = {}
        for scope in ScopeWalker(compilation, item):
            for atom in scope:
                for name in sorted(wanted & set(atom.provides)):
                    found.setdefault(atom, []).append(name)
                    wanted.discard(name)
            if not wanted:
                break
        for atom, names in found.items():
            yield Link(keys[atom], keys[item], LinkKind.DATA, tuple(names))
