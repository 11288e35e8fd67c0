"""What a compiled flow says about its atoms once and for all: who comes before and after whom.

TaskFlow walks the graph anew for each atom that it looks at. The graph does not change while a flow
runs, nor from one run to the next, so that the walks are made once when the flow is compiled. What
they found is all that a run needs; the graph itself, three times as large, is then let go.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from taskflow.engines.action_engine import compiler as tf_compiler
from taskflow.engines.action_engine import scopes as tf_scopes
from taskflow.engines.action_engine import traversal
from taskflow.flow import LINK_DECIDER

Atoms = tuple[Any, ...]
Names = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """The neighbourhoods of a flow's atoms, by the atom's name.

    * `atoms`: all of them, in the graph's own order; `retries` those that are retries; `place`
      an atom's index in `atoms`.
    * `before`: whom an atom waits for when it goes forward.
    * `onward`: who may be ready once it has been executed, and whom it waits for to go back.
    * `backward`: who may be ready once it is reverted.
    * `retry_of`: the retry that decides when it fails.
    * `scopes`: whose results it may see, the nearest first.
    * `compilation`: TaskFlow's own, kept only where links of the flow decide at run time who is
      left out, which is TaskFlow's to find out.
    """

    atoms: Atoms
    retries: Atoms
    before: dict[str, Atoms]
    onward: dict[str, Atoms]
    backward: dict[str, Atoms]
    retry_of: dict[str, Any]
    scopes: dict[str, tuple[Names, ...]]
    compilation: Any
    place: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        places = {atom.name: index for index, atom in enumerate(self.atoms)}
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
    atoms = tuple(node for node, kind in kinds.items() if kind in tf_compiler.ATOMS)
    deep, wide = traversal.depth_first_iterate, traversal.breadth_first_iterate
    deciders = any(LINK_DECIDER in data for _, _, data in graph.edges(data=True))
    return Graph(
        atoms=atoms,
        retries=tuple(atom for atom in atoms if kinds[atom] == tf_compiler.RETRY),
        before={atom.name: tuple(deep(graph, atom, back)) for atom in atoms},
        onward={atom.name: tuple(wide(graph, atom, forward)) for atom in atoms},
        # a retry controls its own surroundings, so that going back does not look past it
        backward={
            atom.name: tuple(wide(graph, atom, back, through_retries=False)) for atom in atoms
        },
        retry_of={atom.name: graph.nodes[atom].get(tf_compiler.RETRY) for atom in atoms},
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
