"""What a compiled flow says about its atoms once and for all: who comes before and after whom.

TaskFlow walks the graph anew for each atom that it looks at. The graph does not change while a flow
runs, nor from one run to the next, so that the walks are made once when the flow is compiled.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from taskflow.engines.action_engine import compiler as tf_compiler
from taskflow.engines.action_engine import traversal
from taskflow.flow import LINK_DECIDER

Atoms = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """A compilation and the neighbourhoods of its atoms, by the atom's name.

    * `atoms`: all of them, in the graph's own order.
    * `before`, `after`: whom an atom waits for when it goes forward, and when it goes back.
    * `onward`, `backward`: who may be ready once it has been executed, and once it is reverted.
    * `place`: an atom's index in `atoms`.
    * `deciders`: whether links of the flow decide at run time who is left out.
    """

    compilation: Any
    atoms: Atoms
    before: dict[str, Atoms]
    after: dict[str, Atoms]
    onward: dict[str, Atoms]
    backward: dict[str, Atoms]
    deciders: bool
    place: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        places = {atom.name: index for index, atom in enumerate(self.atoms)}
        object.__setattr__(self, "place", places)

    def in_order(self, atoms: Iterable[Any]) -> list[Any]:
        """Each of `atoms` once, in the graph's order: TaskFlow gives sets, whose order is chance, and
        a run that is begun again from the same records must go on in the same way.
        """
        return sorted(set(atoms), key=lambda atom: self.place[atom.name])


def graph_of(compilation: Any) -> Graph:
    """The walks that TaskFlow would make, made."""
    graph = compilation.execution_graph
    forward, back = traversal.Direction.FORWARD, traversal.Direction.BACKWARD
    atoms = tuple(
        node for node, data in graph.nodes(data=True) if data["kind"] in tf_compiler.ATOMS
    )

    def deep(direction: Any) -> dict[str, Atoms]:
        walk = traversal.depth_first_iterate
        return {atom.name: tuple(walk(graph, atom, direction)) for atom in atoms}

    wide = traversal.breadth_first_iterate
    return Graph(
        compilation=compilation,
        atoms=atoms,
        before=deep(back),
        after=deep(forward),
        onward={atom.name: tuple(wide(graph, atom, forward)) for atom in atoms},
        # a retry controls its own surroundings, so that going back does not look past it
        backward={
            atom.name: tuple(wide(graph, atom, back, through_retries=False)) for atom in atoms
        },
        deciders=any(LINK_DECIDER in data for _, _, data in graph.edges(data=True)),
    )
