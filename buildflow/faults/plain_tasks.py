"""A scene for a flow of plain TaskFlow tasks, run by TaskFlow's own engine on its own logbook.

Such a flow has no ledger and no list of what is left: it must end complete or leave nothing. Points
are each task before and after its execute and its revert, and each call of the world, as in
own_flow.py. After a kill the flow is loaded again from its flow detail and run on, as TaskFlow's
documentation has it.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from taskflow import engines
from taskflow import exceptions as tf_exceptions
from taskflow import states as tf_states
from taskflow.persistence import models
from taskflow.persistence.backends import impl_memory

from buildflow.engine.clock import VirtualClock
from buildflow.engine.fingerprint import atoms_of
from buildflow.errors import fault_dict
from buildflow.faults.injector import Injector
from buildflow.faults.kinds import ANY_WORLD, KINDS, Act
from buildflow.faults.own_flow import things_in
from buildflow.faults.proxies import proxied
from buildflow.faults.scene import Inventory, Outcome, Scene


class PlainTasksScene(Scene):
    """See the module. `factory` makes the flow from the world that its tasks act on."""

    resumes = True
    lists_residue = False
    # where a service stays down nothing can be undone, and such a flow has no way to say so
    kinds = tuple(kind for kind in KINDS if kind.act is not Act.DOWN)

    def __init__(
        self,
        factory: Callable[[Any], Any],
        world: Callable[[], Any] = dict,
        *,
        store: Mapping[str, Any] | None = None,
        inventory: Callable[[Any], Inventory] = things_in,
        name: str = "plain",
    ) -> None:
        self.name, self._factory, self._make_world = name, factory, world
        self._given, self._inventory = dict(store or {}), inventory

    def lay_out(self) -> None:
        """See Scene."""
        self.clock = VirtualClock()
        self.world = self._make_world()
        self._backend = impl_memory.MemoryBackend({})
        book = models.LogBook("explored")
        detail = models.FlowDetail("explored", "00000000-0000-4000-8000-000000000001")
        book.add(detail)
        with contextlib.closing(self._backend.get_connection()) as connection:
            connection.save_logbook(book)
        self._book, self._detail = book, detail
        self._fault: dict[str, Any] | None = None
        self._ran = False
        self.injector = Injector(self)

    def arm(self, injector: Injector) -> None:
        """See Scene."""
        self.injector = injector

    def start(self) -> None:
        """See Scene."""
        self._run()

    def resume(self) -> None:
        """See Scene."""
        if self.outcome() is not Outcome.UNFINISHED:
            return  # TaskFlow would begin a flow that has been reverted again from its first task
        self.injector.new_process()
        self._run()

    def _run(self) -> None:
        armed = self.world
        if type(armed).__module__ != "builtins":
            armed = proxied(armed, ANY_WORLD, self.injector)
        flow = self._factory(armed)
        for task in _tasks(flow):
            _watch(task, self.injector)
        engine = engines.load(
            flow, store=self._given, flow_detail=self._detail, book=self._book,
            backend=self._backend, engine="serial",
        )  # fmt: skip
        try:
            engine.run()
        except tf_exceptions.WrappedFailure as wrapped:
            first = next(iter(wrapped)).exception
            self._fault = self._fault or fault_dict(first or wrapped)
        except Exception as error:
            self._fault = self._fault or fault_dict(error)
        self._ran = True

    def outcome(self) -> Outcome:
        """See Scene: a flow that could not be reverted says no more than that it failed."""
        state = self._detail.state
        if state == tf_states.SUCCESS:
            return Outcome.COMPLETE
        if self._ran and state in (tf_states.REVERTED, tf_states.FAILURE):
            return Outcome.ROLLED_BACK
        return Outcome.UNFINISHED

    def inventory(self) -> Inventory:
        """See Scene."""
        return self._inventory(self.world)

    def fault(self) -> dict[str, Any] | None:
        """See Scene."""
        return self._fault


def _tasks(flow: Any) -> Iterator[Any]:
    for atom in atoms_of(flow):
        if not hasattr(atom, "on_failure"):
            yield atom


def _watch(task: Any, injector: Injector) -> None:
    """Put points round a task's own methods."""
    execute, revert = task.execute, task.revert

    @functools.wraps(execute)
    def watched_execute(*args: Any, **kwargs: Any) -> Any:
        injector.at_step("execute", task.name, False)
        result = execute(*args, **kwargs)
        injector.at_step("recorded", task.name, False)
        return result

    @functools.wraps(revert)
    def watched_revert(*args: Any, **kwargs: Any) -> Any:
        injector.at_step("revert", task.name, True)
        result = revert(*args, **kwargs)
        injector.at_step("reverted", task.name, True)
        return result

    task.execute, task.revert = watched_execute, watched_revert
