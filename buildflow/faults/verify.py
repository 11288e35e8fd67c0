"""Proof over the tables: what they say is walked, without anything being run.

Each machine is a graph: every state can be reached, every state that does not last leads to one
that does, no trigger is ambiguous. Each flow is walked forward, and backward from each of its
points, with each thing that may happen there; the product of place, states and what has happened
is enumerated (product.py), and nothing in it may be illegal in the joint table. A flaw comes with
the shortest way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import networkx as nx

from buildflow.engine.fingerprint import atoms_of
from buildflow.engine.removal import Remove
from buildflow.engine.step import Step
from buildflow.faults.product import Flaw, Laws, product_of
from buildflow.states import TABLES, Stability, Table, joint
from buildflow.states.machine import label


@dataclass(slots=True)
class Proof:
    """What was looked at, and what is wrong with it. `product` counts places by flow."""

    flaws: list[Flaw] = field(default_factory=list)
    states: dict[str, int] = field(default_factory=dict)
    transitions: dict[str, int] = field(default_factory=dict)
    triples: int = 0
    reached: int = 0
    product: dict[str, int] = field(default_factory=dict)
    edges: dict[str, int] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """What was looked at, for people."""
        for name, count in self.states.items():
            yield f"{name}: {count} states, {self.transitions[name]} transitions"
        yield f"joint: {self.triples} legal triples, {self.reached} of them reached"
        for name, places in self.product.items():
            yield (
                f"{name}: {self.steps[name]} steps, {places:,} places,"
                f" {self.edges[name]:,} ways between them"
            )
        yield (
            f"product: {sum(self.product.values()):,} places (position in the flow x states x"
            f" fault), {sum(self.edges.values()):,} ways, {len(self.flaws)} flaws"
        )

    def as_json(self) -> dict[str, Any]:
        """The document of `buildflow verify --json`."""
        return {
            "sound": not self.flaws,
            "machines": {
                name: {"states": count, "transitions": self.transitions[name]}
                for name, count in self.states.items()
            },
            "triples": self.triples,
            "triples_reached": self.reached,
            "flows": {
                name: {
                    "steps": steps,
                    "places": self.product.get(name, 0),
                    "ways": self.edges.get(name, 0),
                }
                for name, steps in self.steps.items()
            },
            "product": sum(self.product.values()),
            "ways": sum(self.edges.values()),
            "flaws": [
                {"where": flaw.where, "text": flaw.text, "path": list(flaw.path)}
                for flaw in self.flaws
            ],
        }


def verify(
    flows: Mapping[str, Any],
    *,
    tables: Mapping[str, Table[Any]] | None = None,
    rows: Sequence[joint.JointRow] | None = None,
) -> Proof:
    """Check the tables, and each of `flows` against them. `rows` stand for the joint table's."""
    proof = Proof()
    chosen = TABLES if tables is None else tables
    laws = Laws(chosen, joint.TABLE if rows is None else rows)
    for name, table in chosen.items():
        proof.states[name], proof.transitions[name] = len(table.states), len(table.all_rows())
        proof.flaws += machine_flaws(name, table)
    proof.flaws += _shared_triggers(chosen)
    proof.triples = len(laws.legal)
    proof.flaws += joint_flaws(laws)
    reached = set()
    for name, flow in flows.items():
        atoms = list(atoms_of(flow))
        steps = [atom for atom in atoms if isinstance(atom, Step)]
        proof.steps[name] = len(steps)
        found = step_flaws(name, steps, chosen)
        proof.flaws += found
        if not found:
            graph, flaws = product_of(name, atoms, laws)
            proof.flaws += flaws
            proof.product[name], proof.edges[name] = len(graph), graph.number_of_edges()
            reached |= {place.states.triple for place in graph}
    proof.reached = len(reached)
    return proof


# --- the machines --------------------------------------------------------------------------------


def graph_of(table: Table[Any]) -> nx.MultiDiGraph:
    """A machine as a graph of its states."""
    graph = nx.MultiDiGraph()
    graph.add_nodes_from(label(state.value) for state in table.states)
    for row in table.all_rows():
        graph.add_edge(label(row.source), label(row.dest), trigger=row.trigger)
    return graph


def machine_flaws(name: str, table: Table[Any]) -> list[Flaw]:
    """States that can't be reached, states that lead nowhere, triggers that mean two things."""
    graph = graph_of(table)
    first = label(table.initial)
    flaws = [
        Flaw(name, f"no transition leads to {value}")
        for value in graph
        if not nx.has_path(graph, first, value)
    ]
    lasting = [s.value for s in table.states if s.stability is Stability.TERMINAL] or [
        s.value for s in table.states if s.stability in (Stability.STABLE, Stability.STUCK)
    ]
    leads = {label(value) for value in lasting}
    for value in lasting:
        leads |= nx.ancestors(graph, label(value))
    flaws += [
        Flaw(name, f"{value} leads to no state that lasts", _way(graph, first, value))
        for value in graph
        if value not in leads
    ]
    flaws += [
        Flaw(name, f"{label(s.value)} is terminal, and {row.trigger} leads out of it")
        for s in table.states
        if s.stability is Stability.TERMINAL
        for row in table.all_rows()
        if row.source == s.value
    ]
    seen: dict[tuple[str, Any], Any] = {}
    for row in table.all_rows():
        if seen.setdefault((row.trigger, row.source), row.dest) != row.dest:
            flaws.append(Flaw(name, f"{row.trigger} from {label(row.source)} is ambiguous"))
    return flaws


def _way(graph: nx.MultiDiGraph, first: str, value: str) -> tuple[str, ...]:
    if not nx.has_path(graph, first, value):
        return ()
    return tuple(nx.shortest_path(graph, first, value))


def _shared_triggers(tables: Mapping[str, Table[Any]]) -> list[Flaw]:
    owner: dict[str, str] = {}
    return [
        Flaw(name, f"its trigger {trigger} belongs to {owner[trigger]} as well")
        for name, table in tables.items()
        for trigger in sorted(table.triggers())
        if owner.setdefault(trigger, name) != name
    ]


def joint_flaws(laws: Laws) -> list[Flaw]:
    """Rows of the joint table that name no state, and the start that it does not allow."""
    flaws = []
    values = {name: {s.value for s in table.states} for name, table in laws.tables.items()}
    for row in laws.rows:
        named: dict[str, set[Any]] = {
            "vm": {row.vm_state},
            "task": {row.task_state},
            "power": set(row.power_states),
        }
        flaws += [
            Flaw("joint", f"{value} is no state of {name}")
            for name, wanted in named.items()
            if name in values
            for value in wanted - values[name]
        ]
    start = tuple(laws.tables[name].initial for name in ("vm", "task", "power"))
    if start not in laws.legal:
        flaws.append(Flaw("joint", f"the start {'/'.join(map(label, start))} is not legal"))
    return flaws


# --- the steps -----------------------------------------------------------------------------------


def step_flaws(flow: str, steps: list[Step], tables: Mapping[str, Table[Any]]) -> list[Flaw]:
    """Steps without an undo, triggers that no table knows, undos that wait for each other."""
    flaws = []
    known = {trigger for table in tables.values() for trigger in table.triggers()}
    for step in steps:
        triggers = [*step.on_start, *step.on_done, *getattr(step, "triggers", ())]
        flaws += [
            Flaw(flow, f"step {step.name}: no machine has the trigger {trigger}")
            for trigger in triggers
            if trigger not in known
        ]
        if step.kind is None and not step.no_undo and not isinstance(step, Remove):
            flaws.append(Flaw(flow, f"step {step.name}: declares no undo and no reason for none"))
    order = nx.DiGraph()
    for step in steps:
        for other in step.undo_after:
            order.add_edge(other, step.kind)
    cycle = next(iter(nx.simple_cycles(order)), None)
    if cycle:
        flaws.append(Flaw(flow, f"undos wait for each other: {', '.join(cycle)}", tuple(cycle)))
    made = {step.kind for step in steps if step.kind}
    places = {kind: i for i, step in enumerate(steps) if (kind := step.kind)}
    for step in steps:
        flaws += [
            Flaw(flow, f"step {step.name}: its undo waits for a {kind}, which is made before it")
            for kind in step.undo_after
            if kind in made and places[kind] < places[step.kind or ""]
        ]
    return flaws
