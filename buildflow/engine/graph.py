"""What a flow's shape says about its atoms once and for all: who comes before and after whom.

TaskFlow compiles each flow and walks the graph anew for each atom that it looks at. Builds of one
shape differ in what their steps are given and in nothing that the walks find, so that the walks are
made once for a shape, by name, and shared by all its builds; TaskFlow's graph is then let go.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from taskflow import flow as tf_flow
from taskflow.engines.action_engine import compiler as tf_compiler
from taskflow.engines.action_engine import scopes as tf_scopes
from taskflow.engines.action_engine import traversal
from taskflow.flow import LINK_DECIDER
from taskflow.patterns import linear_flow, unordered_flow

Names = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """The neighbourhoods of a flow's atoms, all by name.

    * `names`: all of them, in the graph's own order; `place` an atom's index in it.
    * `retries`: those of them that are retries; `retry_of` the one that decides when an atom fails.
    * `before`: whom an atom waits for when it goes forward.
    * `onward`: who may be ready once it has been executed, and whom it waits for to go back.
    * `backward`: who may be ready once it is reverted.
    * `scopes`: whose results it may see, the nearest first.
    * `compilation`: TaskFlow's own, kept only where links of the flow decide at run time who is
      left out, which is TaskFlow's to find out.
    """

    names: Names
    retries: Names
    retry_of: dict[str, str | None]
    before: dict[str, Names]
    onward: dict[str, Names]
    backward: dict[str, Names]
    scopes: dict[str, tuple[Names, ...]]
    compilation: Any
    place: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        places = {name: index for index, name in enumerate(self.names)}
        object.__setattr__(self, "place", places)

    def in_order(self, atoms: Iterable[Any]) -> list[Any]:
        """Each of `atoms` once, in the graph's order: TaskFlow gives sets, whose order is chance,
        and a run that is begun again from the same records must go on in the same way.
        """
        return sorted(set(atoms), key=lambda atom: self.place[atom.name])


def graph_of(compilation: Any) -> Graph:
    """The walks that TaskFlow would make, made."""
    graph = compilation.execution_graph
    forward, back = traversal.Direction.FORWARD, traversal.Direction.BACKWARD
    kinds = {node: data["kind"] for node, data in graph.nodes(data=True)}
    atoms = [node for node, kind in kinds.items() if kind in tf_compiler.ATOMS]
    deep, wide = traversal.depth_first_iterate, traversal.breadth_first_iterate
    deciders = any(LINK_DECIDER in data for _, _, data in graph.edges(data=True))

    def names(found: Iterable[Any]) -> Names:
        return tuple(atom.name for atom in found)

    def retry_of(atom: Any) -> str | None:
        retry = graph.nodes[atom].get(tf_compiler.RETRY)
        return None if retry is None else retry.name

    return Graph(
        names=names(atoms),
        retries=names(atom for atom in atoms if kinds[atom] == tf_compiler.RETRY),
        retry_of={atom.name: retry_of(atom) for atom in atoms},
        before={atom.name: names(deep(graph, atom, back)) for atom in atoms},
        onward={atom.name: names(wide(graph, atom, forward)) for atom in atoms},
        # a retry controls its own surroundings, so that going back does not look past it
        backward={
            atom.name: names(wide(graph, atom, back, through_retries=False)) for atom in atoms
        },
        scopes={
            atom.name: tuple(
                tuple(level)
                for level in tf_scopes.ScopeWalker(compilation, atom, names_only=True)
                if level
            )
            for atom in atoms
        },
        compilation=compilation if deciders else None,
    )


def shape_of(flow: Any) -> Any:
    """A key that only flows with the same graph have; None where that can't be said."""
    if not isinstance(flow, tf_flow.Flow):
        return flow.name
    if not isinstance(flow, (linear_flow.Flow, unordered_flow.Flow)):
        return None  # its edges may depend on anything
    parts = [shape_of(node) for node, _ in flow.iter_nodes()]
    if None in parts:
        return None
    retry = None if flow.retry is None else flow.retry.name
    return type(flow).__name__, retry, tuple(parts)
