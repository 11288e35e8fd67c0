"""Flows made from their factories, checked, compiled and fingerprinted; kept for the next run.

A step is bound to one run at a time, so a definition is lent to one run and taken back after it.
What is kept is keyed by factory and inputs, so that a flow which is run over and over is made and
compiled once for each run that goes on at the same time.
"""

from __future__ import annotations

import importlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from taskflow.patterns import linear_flow

from buildflow.engine.complete import Complete
from buildflow.engine.fingerprint import Entry, atoms_of, fingerprint
from buildflow.engine.graph import Graph
from buildflow.engine.persistence import StoreBackend
from buildflow.engine.removal import Remove
from buildflow.engine.runner import SerialEngine, compile_flow, has_independent_steps, make_engine
from buildflow.engine.step import Step
from buildflow.engine.store import Row
from buildflow.errors import BadInput, DefinitionError

FlowFactory = Callable[..., Any]

# how many different flows are kept, and how many of each
KEPT_KEYS = 32
KEPT_EACH = 16


@dataclass(slots=True)
class Definition:
    """One flow, ready to be run. The flow itself is let go: its atoms and graph are enough."""

    name: str
    overlaps: bool  # whether some of its steps may run at the same time
    atoms: tuple[Any, ...]
    fingerprint: list[Entry]
    graph: Graph
    key: str | None = None
    steps: dict[str, Step] = field(default_factory=dict)
    _engine: Any = None

    def engine(
        self,
        detail: Any,
        run: Any,
        backend: StoreBackend,
        pool: Callable[[], ThreadPoolExecutor] | None,
    ) -> Any:
        """A TaskFlow engine for this flow that works on `detail` and tells `run` what it changes.

        `pool` gives the threads for steps that may overlap; None has them one after the other.
        """
        if self._engine is None:
            threads = pool() if pool is not None and self.overlaps else None
            self._engine = make_engine(
                self.name, self.graph, self._atoms_by_name(), detail, backend, threads
            )
        lock = None if isinstance(self._engine, SerialEngine) else run.lock
        self._engine.take(detail, run, lock)
        return self._engine

    def _atoms_by_name(self) -> dict[str, Any]:
        atoms = {atom.name: atom for atom in self.atoms}
        return {name: atoms[name] for name in self.graph.names}

    def bind(self, run: Any) -> None:
        """Tie every atom to the run that carries it out."""
        for atom in self.atoms:
            atom.run = run
            if isinstance(atom, Remove):
                atom.target.run = run


def define(flow: Any, key: str | None = None) -> Definition:
    """Check and compile `flow`; DefinitionError for what can't be run."""
    atoms = tuple(atoms_of(flow))
    for atom in atoms:
        if not isinstance(atom, Step) and not hasattr(atom, "on_failure"):
            raise DefinitionError(
                f"{atom.name!r} is a plain TaskFlow task: make it a buildflow Step, so that it"
                " declares its undo"
            )
    if not any(isinstance(atom, (Complete, Remove)) for atom in atoms):
        flow = linear_flow.Flow(flow.name).add(flow, Complete())
        atoms = tuple(atoms_of(flow))
    steps = {atom.name: atom for atom in atoms if isinstance(atom, Step)}
    graph = compile_flow(flow)
    overlaps = has_independent_steps(flow)
    return Definition(flow.name, overlaps, atoms, _shared(fingerprint(flow)), graph, key, steps)


# fingerprints by their text: as many builds as there are, they have few
_fingerprints: dict[str, list[Entry]] = {}


def _shared(entries: list[Entry]) -> list[Entry]:
    if len(_fingerprints) >= KEPT_KEYS:
        _fingerprints.clear()
    return _fingerprints.setdefault(json.dumps(entries), entries)


class Definitions:
    """Lends definitions out by factory and inputs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: OrderedDict[str, list[Definition]] = OrderedDict()

    def lend(self, dotted: str, inputs: Row) -> Definition:
        """A definition that nobody else has now. Raises BadInput or DefinitionError."""
        key = f"{dotted}({json.dumps(inputs, sort_keys=True)})"
        with self._lock:
            free = self._free.get(key)
            if free:
                self._free.move_to_end(key)
                return free.pop()
        return define(make_flow(dotted, inputs), key)

    def take_back(self, definition: Definition) -> None:
        """Keep it for the next run, within bounds."""
        if definition.key is None:
            return
        definition.bind(None)
        with self._lock:
            free = self._free.setdefault(definition.key, [])
            if len(free) < KEPT_EACH:
                free.append(definition)
            while len(self._free) > KEPT_KEYS:
                self._free.popitem(last=False)


def dotted_name(factory: FlowFactory) -> str:
    """`module:function` of a flow factory; DefinitionError when it can't be imported again."""
    name = f"{factory.__module__}:{factory.__qualname__}"
    if "<" in name or import_factory(name) is not factory:
        raise DefinitionError(
            f"{name} can't be imported again after a crash: make the flow factory a function at"
            " the top of a module"
        )
    return name


def make_flow(dotted: str, inputs: Row) -> Any:
    """The flow that the factory `dotted` makes of `inputs`. Raises BadInput or DefinitionError."""
    factory = import_factory(dotted)
    try:
        return factory(**inputs)
    except TypeError as error:
        raise BadInput(f"{dotted} can't be called with {sorted(inputs)}: {error}") from error


def import_factory(dotted: str) -> FlowFactory:
    """The factory that `dotted_name` named."""
    module_name, _, qualname = dotted.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise DefinitionError(f"the flow {dotted} can't be imported: {error}") from error
    return found  # type: ignore[no-any-return]
