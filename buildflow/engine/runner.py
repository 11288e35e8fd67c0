"""TaskFlow's engines on our storage: serial, and parallel on a pool that is shared.

The parallel one takes a ThreadPoolExecutor from outside, for a pool of its own would cost a second
at each run's end (tests/engine/test_taskflow_canaries.py, P1).
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from taskflow import exceptions as tf_exceptions
from taskflow import flow as tf_flow
from taskflow import states as tf_states
from taskflow.engines.action_engine import compiler, runtime
from taskflow.engines.action_engine import engine as action_engine
from taskflow.patterns import graph_flow, unordered_flow

from buildflow.engine.persistence import LeanStorage, Recorder, StoreBackend
from buildflow.errors import DefinitionError

# A failed step is our caller's news, told once; TaskFlow would log it with each state it passes.
logging.getLogger("taskflow").setLevel(logging.CRITICAL)


class _OnOurStorage:
    _lean: Any = None
    given_compilation: Any = None

    def compile(self) -> None:
        """As TaskFlow does, but with the compilation at hand when the flow was compiled before."""
        if self._compiled:  # type: ignore[has-type]
            return
        if self.given_compilation is None:
            super().compile()  # type: ignore[misc]
            return
        self._compilation = self.given_compilation
        self._runtime = runtime.Runtime(
            self._compilation,
            self.storage,
            self.atom_notifier,  # type: ignore[attr-defined]
            self._task_executor,  # type: ignore[attr-defined]
            self._retry_executor,  # type: ignore[attr-defined]
            options=self._options,  # type: ignore[attr-defined]
        )
        self._runtime.compile()
        self._compiled = True

    @property
    def storage(self) -> Any:
        """TaskFlow's storage unit: ours, made at first use as in the class above."""
        if self._lean is None:
            self._lean = LeanStorage(
                self._flow_detail,  # type: ignore[attr-defined]
                self._backend,  # type: ignore[attr-defined]
                self._scopes,
                self._backend.recorder,  # type: ignore[attr-defined]
            )
        return self._lean

    def _scopes(self, atom_name: str) -> Any:
        if self._compiled:  # type: ignore[attr-defined]
            return self._runtime.fetch_scopes_for(atom_name)  # type: ignore[attr-defined]
        return None


class SerialEngine(_OnOurStorage, action_engine.SerialActionEngine):  # type: ignore[misc]
    """One step at a time, in the caller's thread."""


class ParallelEngine(_OnOurStorage, action_engine.ParallelActionEngine):  # type: ignore[misc]
    """Steps that do not depend on each other overlap."""


_OPTIONS = {"gather_statistics": False, "defer_reverts": True}


def compile_flow(flow: Any) -> Any:
    """TaskFlow's compilation of `flow`; DefinitionError when it does not compile."""
    try:
        compilation = compiler.PatternCompiler(flow).compile()
        return action_engine.ActionEngine._check_compilation(compilation)
    except tf_exceptions.TaskFlowException as error:
        raise DefinitionError(f"the flow {flow.name!r} does not compile: {error}") from error


def make_engine(
    flow: Any,
    detail: Any,
    backend: StoreBackend,
    recorder: Recorder,
    pool: ThreadPoolExecutor | None,
    compilation: Any = None,
) -> Any:
    """A TaskFlow engine for `flow`, compiled; parallel when `pool` is given and can help.

    `defer_reverts` makes a nested retry that has run out revert the outer steps too (B7).
    """
    backend.recorder = recorder
    if pool is not None and has_independent_steps(flow):
        engine = ParallelEngine(flow, detail, backend, {**_OPTIONS, "executor": pool})
    else:
        engine = SerialEngine(flow, detail, backend, dict(_OPTIONS))
    engine.given_compilation = compilation
    engine.compile()
    return engine


def force_revert(engine: Any) -> None:
    """Turn an engine round: every atom is to be reverted. TaskFlow has no public call for it.

    The flow must not be in a state that TaskFlow takes for finished, or it would be reset and
    built again from scratch (B2).
    """
    engine.prepare()
    storage = engine.storage
    for node, data in engine.compilation.execution_graph.nodes(data=True):
        if data["kind"] in ("task", "retry"):
            storage.set_atom_intention(node.name, tf_states.REVERT)


def has_independent_steps(flow: Any) -> bool:
    """Whether any part of `flow` lets steps overlap."""
    if not isinstance(flow, tf_flow.Flow):
        return False
    if isinstance(flow, (unordered_flow.Flow, graph_flow.Flow)) and len(flow) > 1:
        return True
    return any(has_independent_steps(node) for node, _ in flow.iter_nodes())
