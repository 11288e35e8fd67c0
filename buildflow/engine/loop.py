"""The loop that drives one flow: TaskFlow's own rules, actions and retries, without its automaton.

TaskFlow runs a small state machine round each batch of atoms (schedule, wait, analyse). What it
decides there stays TaskFlow's: which atom may run or revert, what a failure does, when a retry goes
on. The machine, its observers and its graph walks are replaced by a plain loop over what was walked
once (engine/graph.py), for together they took more time than a durable commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any

from taskflow import states as st
from taskflow import task as tf_task
from taskflow.engines.action_engine import executor as tf_executor
from taskflow.types import failure as tf_failure

from buildflow.engine.graph import Graph, Names

_DONE = (st.SUCCESS, st.IGNORE)
_WANTED = (st.EXECUTE, st.IGNORE)
_GONE = (st.PENDING, st.REVERTED, st.IGNORE)
_BACK = (st.REVERT, st.RETRY)


class Outcome:
    """A call that has been made: what TaskFlow expects of a future, without the machinery."""

    __slots__ = ("_value", "atom")

    def __init__(self, atom: Any, event: str, call: Any, arguments: dict[str, Any]) -> None:
        self.atom = atom
        try:
            self._value = event, call(**arguments)
        except Exception as error:
            # without its traceback, which would be formatted here and is read by nobody
            self._value = event, tf_failure.Failure((type(error), error, None))

    def result(self) -> tuple[str, Any]:
        """(executed or reverted, what came of it)."""
        return self._value

    def told(self) -> tuple[str, str, tuple[str, ...]]:
        """(atom, executed or reverted, the classes of its failure if it has failed)."""
        event, value = self._value
        failed = tuple(value) if isinstance(value, tf_failure.Failure) else ()
        return self.atom.name, event, failed


@dataclass(slots=True)
class AtHand:
    """What a loop has in mind and TaskFlow has not: a part of where a run is. `scheduled` are the
    names of atoms that are to begin next, whatever comes of the one that begins; `ended` are
    outcomes of which TaskFlow has not heard, for another atom of their batch is still at work.
    """

    scheduled: list[str] = field(default_factory=list)
    ended: list[Outcome] = field(default_factory=list)


class InlineTasks(tf_executor.TaskExecutor):  # type: ignore[misc]
    """Executes and reverts tasks in the caller's thread, at once."""

    def execute_task(self, task: Any, task_uuid: str, arguments: Any, **_: Any) -> Outcome:
        """See the class."""
        return Outcome(task, tf_executor.EXECUTED, task.execute, arguments)

    def revert_task(
        self, task: Any, task_uuid: str, arguments: Any, result: Any, failures: Any, **_: Any
    ) -> Outcome:
        """See the class."""
        arguments = {**arguments, tf_task.REVERT_RESULT: result}
        arguments[tf_task.REVERT_FLOW_FAILURES] = failures
        return Outcome(task, tf_executor.REVERTED, task.revert, arguments)


class InlineRetries:
    """The same for retries, which decide and never wait."""

    def start(self) -> None:
        """Nothing to start."""

    def stop(self) -> None:
        """Nothing to stop."""

    def execute_retry(self, retry: Any, arguments: Any) -> Outcome:
        """See the class."""
        return Outcome(retry, tf_executor.EXECUTED, retry.execute, arguments)

    def revert_retry(self, retry: Any, arguments: Any) -> Outcome:
        """See the class."""
        return Outcome(retry, tf_executor.REVERTED, retry.revert, arguments)


class Selector:
    """Which atoms may run or revert now (taskflow: action_engine/selector.py, by its rules)."""

    def __init__(self, graph: Graph, atoms: Mapping[str, Any], runtime: Any) -> None:
        self._graph, self._atoms, self._runtime = graph, atoms, runtime
        self._details = {name: runtime.storage.detail(name) for name in graph.names}

    def all_ready(self) -> Iterator[Any]:
        """Every atom that is ready for anything."""
        yield from self._executable(self._graph.names)
        yield from self._revertible(self._graph.names)

    def ready_after(self, atom: Any) -> Iterable[Any]:
        """Those that the end of `atom` may have made ready."""
        detail = self._details[atom.name]
        if detail.state == st.SUCCESS:
            if detail.intention == st.REVERT:
                return (atom,)
            if detail.intention == st.EXECUTE:
                return self._executable(self._graph.onward[atom.name])
        elif detail.state == st.REVERTED:
            return self._revertible(self._graph.backward[atom.name])
        elif detail.state == st.FAILURE:
            return self._revertible(self._graph.names)
        return ()

    def _executable(self, names: Names) -> Iterator[Any]:
        details, before = self._details, self._graph.before
        for name in names:
            detail = details[name]
            if detail.intention != st.EXECUTE or not self._may(name, detail.state, st.RUNNING):
                continue
            for other in before[name]:
                found = details[other]
                if found.state not in _DONE or found.intention not in _WANTED:
                    break
            else:
                yield self._atoms[name]

    def _revertible(self, names: Names) -> Iterator[Any]:
        details, onward = self._details, self._graph.onward
        for name in names:
            detail = details[name]
            if detail.intention not in _BACK or not self._may(name, detail.state, st.REVERTING):
                continue
            for other in onward[name]:
                if details[other].state not in _GONE:
                    break
            else:
                yield self._atoms[name]

    def _may(self, name: str, state: str | None, target: str) -> bool:
        return bool(self._runtime.check_atom_transition(self._atoms[name], state, target))


def drive(runtime: Any, graph: Graph, atoms: Mapping[str, Any], hand: AtHand | None = None) -> None:
    """Run or revert atoms until none is left to do. `hand` always tells what it has at hand.

    Raises the failure of a revert, or of TaskFlow itself; a step's own failure is not raised but
    rolled back. When it raises, no step is at work any more.
    """
    storage, completer, scheduler = runtime.storage, runtime.completer, runtime.scheduler
    selector = Selector(graph, atoms, runtime)
    failures: list[Any] = []
    at_work: list[Any] = []
    hand = hand or AtHand()
    try:
        with storage.lock.write_lock():
            ready = graph.in_order((*completer.resume(), *selector.all_ready()))
        while True:
            if ready:
                hand.scheduled = [atom.name for atom in ready]
                with storage.lock.write_lock():
                    for atom in ready:
                        hand.scheduled.pop(0)
                        begun, failed = scheduler.schedule([atom])
                        at_work += begun
                        hand.ended += (each for each in begun if isinstance(each, Outcome))
                        failures += failed
                        if failed:
                            break
            if not at_work:
                break
            done, at_work = _await(at_work)
            ready = []
            with storage.lock.write_lock():
                for each in done:
                    failures += _complete(completer, each)
                    if isinstance(each, Outcome):
                        hand.ended.remove(each)
                    if not failures:
                        ready += selector.ready_after(each.atom)
                        hand.scheduled = [atom.name for atom in ready]
            ready = graph.in_order(ready) if not failures else []
    finally:
        futures.wait([each for each in at_work if not isinstance(each, Outcome)])
    tf_failure.Failure.reraise_if_any(failures)


def _await(at_work: list[Any]) -> tuple[list[Any], list[Any]]:
    inline = [each for each in at_work if isinstance(each, Outcome)]
    if inline:
        return inline, [each for each in at_work if not isinstance(each, Outcome)]
    finished = futures.wait(at_work, return_when=futures.FIRST_COMPLETED)
    return list(finished.done), list(finished.not_done)


def _complete(completer: Any, each: Any) -> list[Any]:
    """Tell TaskFlow what came of an atom; returns the failures that end the run."""
    event, result = each.result()
    if isinstance(result, tf_failure.Failure):
        completer.complete(each.atom, event, result)
        return [result] if completer.complete_failure(each.atom, event, result) else []
    completer.complete(each.atom, event, result)
    return []
