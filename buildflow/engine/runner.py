"""TaskFlow's engines on our storage: serial, and parallel on a pool that is shared.

The parallel one takes a ThreadPoolExecutor from outside, for a pool of its own would cost a second
at each run's end (tests/engine/test_taskflow_canaries.py, P1). An engine is made once for a
definition and then lent from run to run with it: only the records that it works on change.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from taskflow import exceptions as tf_exceptions
from taskflow import flow as tf_flow
from taskflow import states as tf_states
from taskflow.engines.action_engine import compiler
from taskflow.engines.action_engine import engine as action_engine
from taskflow.engines.action_engine import runtime as tf_runtime
from taskflow.patterns import graph_flow, unordered_flow
from taskflow.types import failure as tf_failure

from buildflow.engine.graph import Graph, graph_of, shape_of
from buildflow.engine.loop import AtHand, InlineRetries, InlineTasks, drive
from buildflow.engine.persistence import LeanStorage, Recorder, StoreBackend
from buildflow.errors import DefinitionError

# A failed step is our caller's news, told once; TaskFlow would log it with each state it passes.
logging.getLogger("taskflow").setLevel(logging.CRITICAL)


class LeanRuntime(tf_runtime.Runtime):  # type: ignore[misc]
    """TaskFlow's runtime over what was walked before (engine/graph.py), without the graph."""

    def __init__(self, graph: Graph, atoms: Mapping[str, Any], *args: Any, **kwargs: Any) -> None:
        super().__init__(None, *args, **kwargs)
        self._graph, self._atoms = graph, atoms
        for name in graph.names:
            is_retry = name in graph.retries
            self._atom_cache[name] = self._retry_entry if is_retry else self._task_entry

    @functools.cached_property
    def _task_entry(self) -> dict[str, Any]:
        action = self.task_action
        return {
            "check_transition_handler": tf_states.check_task_transition,
            "change_state_handler": functools.partial(action.change_state, progress=0.0),
            "scheduler": self.task_scheduler,
            "edge_deciders": (),
            "action": action,
        }

    @functools.cached_property
    def _retry_entry(self) -> dict[str, Any]:
        action = self.retry_action
        return {
            "check_transition_handler": tf_states.check_retry_transition,
            "change_state_handler": action.change_state,
            "scheduler": self.retry_scheduler,
            "edge_deciders": (),
            "action": action,
        }

    def fetch_scopes_for(self, atom_name: str) -> Any:
        """Whose results an atom may see."""
        return self._graph.scopes.get(atom_name)

    def iterate_nodes(self, allowed_kinds: Any) -> Any:
        """The atoms, or the retries among them."""
        graph = self._graph
        names = graph.names if compiler.TASK in allowed_kinds else graph.retries
        return map(self._atoms.__getitem__, names)

    def find_retry(self, node: Any) -> Any:
        """The retry that decides when `node` fails."""
        retry = self._graph.retry_of[node.name]
        return None if retry is None else self._atoms[retry]

    def reset_subgraph(
        self, atom: Any, state: Any = tf_states.PENDING, intention: Any = tf_states.EXECUTE
    ) -> Any:
        """Reset all that comes after `atom`."""
        later = map(self._atoms.__getitem__, self._graph.onward[atom.name])
        return self.reset_atoms(later, state=state, intention=intention)


class _OnOurStorage:
    """What both engines share: our storage, our loop, and a life longer than one run."""

    graph: Graph
    atoms: Mapping[str, Any]
    scheduled: list[str]
    _lean: LeanStorage | None = None
    _change_state: Any

    def compile(self) -> None:
        """As TaskFlow does, with what was compiled before."""
        if self._compiled:  # type: ignore[has-type]
            return
        rest = (
            self.storage,
            self.atom_notifier,  # type: ignore[attr-defined]
            self._task_executor,  # type: ignore[attr-defined]
            self._retry_executor,  # type: ignore[attr-defined]
        )
        options = self._options  # type: ignore[attr-defined]
        self._compilation = self.graph.compilation
        if self._compilation is None:
            self._runtime = LeanRuntime(self.graph, self.atoms, *rest, options=options)
        else:
            self._runtime = tf_runtime.Runtime(self._compilation, *rest, options=options)
            self._runtime.compile()
        self._compiled = True

    @property
    def storage(self) -> LeanStorage:
        """TaskFlow's storage unit: ours, made at first use as in the class above."""
        if self._lean is None:
            backend = self._backend  # type: ignore[attr-defined]
            self._lean = LeanStorage(self._flow_detail, backend, self._scopes)
        return self._lean

    def _scopes(self, atom_name: str) -> Any:
        if self._compiled:
            return self._runtime.fetch_scopes_for(atom_name)
        return None

    def take(self, detail: Any, recorder: Recorder, lock: Any) -> None:
        """Work on `detail` from here on, and tell `recorder` of every change.

        `lock` guards what several threads would otherwise change and encode at once; None when
        there is one thread.
        """
        self._flow_detail = detail
        self.at_hand = AtHand()
        self.storage.take(detail, recorder, lock)
        self.compile()
        self.storage.ensure(self.atoms.values())
        if not self._storage_ensured:  # type: ignore[has-type]
            for atom in self.atoms.values():
                self.storage.provide(atom)
            self._storage_ensured = True

    def run(self, timeout: float | None = None) -> None:
        """Carry the flow out, forward or back; raises the first failure of what it rolled back.

        Nothing here looks at the flow's state: the build's row has decided (engine/guard.py).
        """
        if self.graph.compilation is not None:
            super().run(timeout)  # type: ignore[misc]
            return
        self.validate()
        self._change_state(tf_states.RUNNING)
        drive(self._runtime, self.graph, self.atoms, self.at_hand)
        if self._runtime.is_success():
            self._change_state(tf_states.SUCCESS)
            return
        self._change_state(tf_states.REVERTED)
        tf_failure.Failure.reraise_if_any(self.storage.get_execute_failures().values())

    def validate(self) -> None:
        """TaskFlow's check that every argument has a provider; once, for a flow does not change."""
        if not self._validated:  # type: ignore[has-type]
            super().validate()  # type: ignore[misc]
            self._validated = True


class SerialEngine(_OnOurStorage, action_engine.SerialActionEngine):  # type: ignore[misc]
    """One step at a time, in the caller's thread."""


class ParallelEngine(_OnOurStorage, action_engine.ParallelActionEngine):  # type: ignore[misc]
    """Steps that do not depend on each other overlap."""


_OPTIONS = {"gather_statistics": False, "defer_reverts": True}


# graphs by the shape of their flows: few, whatever the number of builds
_graphs: dict[Any, Graph] = {}
KEPT_SHAPES = 64


def compile_flow(flow: Any) -> Graph:
    """The graph of `flow`, shared by flows of its shape; DefinitionError when it has none."""
    shape = shape_of(flow)
    if shape is None:
        return _compile(flow)
    found = _graphs.get(shape)
    if found is None:
        found = _compile(flow)
        if len(_graphs) >= KEPT_SHAPES:
            _graphs.clear()
        _graphs[shape] = found
    return found


def _compile(flow: Any) -> Graph:
    try:
        compilation = compiler.PatternCompiler(flow).compile()
        return graph_of(action_engine.ActionEngine._check_compilation(compilation))
    except tf_exceptions.TaskFlowException as error:
        raise DefinitionError(f"the flow {flow.name!r} does not compile: {error}") from error


def make_engine(
    name: str,
    graph: Graph,
    atoms: Mapping[str, Any],
    detail: Any,
    backend: StoreBackend,
    pool: ThreadPoolExecutor | None,
) -> Any:
    """A TaskFlow engine for the flow called `name`, parallel when `pool` is given.

    `defer_reverts` makes a nested retry that has run out revert the outer steps too (B7).
    """
    engine: Any
    if pool is not None:
        engine = ParallelEngine(name, detail, backend, {**_OPTIONS, "executor": pool})
    else:
        engine = SerialEngine(name, detail, backend, dict(_OPTIONS))
        engine._task_executor = InlineTasks()
    engine._retry_executor = InlineRetries()
    engine.graph, engine.atoms = graph, atoms
    return engine


def force_revert(engine: Any) -> None:
    """Turn an engine round: every atom is to be reverted. TaskFlow has no public call for it."""
    for name in engine.graph.names:
        engine.storage.set_atom_intention(name, tf_states.REVERT)


def has_independent_steps(flow: Any) -> bool:
    """Whether any part of `flow` lets steps overlap."""
    if not isinstance(flow, tf_flow.Flow):
        return False
    if isinstance(flow, (unordered_flow.Flow, graph_flow.Flow)) and len(flow) > 1:
        return True
    return any(has_independent_steps(node) for node, _ in flow.iter_nodes())
