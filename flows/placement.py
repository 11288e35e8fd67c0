"""The retry over hosts round one attempt (nova/conductor/manager.py: build_instances)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from taskflow import retry

from buildflow.drivers.protocols import Demand, Json
from buildflow.errors import (
    BuildflowError,
    BuildStopped,
    Exhausted,
    NoRoom,
    Refused,
    StopBuild,
    StoreError,
)
from buildflow.flows.reschedule import Resolution, resolve

if TYPE_CHECKING:
    from buildflow.engine.run import Run


# the pause before the next choice after room that another build was faster to take
LOST_ROOM_S = 0.2


class OverHosts(retry.Retry):  # type: ignore[misc]
    """Provides `host`: each candidate once, at most `max_attempts`, with full undo between them.

    Of hosts that are shared the one with the most room comes first, else the first in order.
    Which failures go on to the next host, flows/reschedule.py says. Room that another build was
    faster to take is no failure of its host: it may be tried again, and where no host has room for
    a build of conductors that has not failed yet, it goes back into the queue and waits.
    """

    run: Run

    def __init__(
        self, name: str, hosts: Sequence[str], max_attempts: int = 3, demand: Json | None = None
    ) -> None:
        """`demand` holds the fields of drivers/protocols.py: Demand, for hosts that are shared."""
        super().__init__(name, provides="host")
        self.hosts = list(hosts)
        self.demand = demand or {}
        self.max_attempts = max_attempts
        self.label = name
        self.kind = None

    def _untried(self, history: Any) -> list[str]:
        """By name and not by number: after a crash the engine may serve other hosts."""
        failed = _failed(history)
        return [host for host in self.hosts or self.run.world.hosts if host not in failed]

    def _choose(self, history: Any) -> str:
        """The next host. Raises NoRoom when none of those that are shared can take it."""
        untried = self._untried(history)
        capacity = self.run.world.capacity
        known = [*(host for host, _ in history), *untried]
        # where one is shared all are: one that the store does not list has no room to claim
        if capacity is not None and self.demand and any(map(capacity.shares, known)):
            tried = _failed(history)
            demand = Demand(**self.demand)
            return str(capacity.place(demand, [*tried, *untried], tried, self.run.id))
        if not untried:  # after a crash, where the engine serves fewer hosts
            raise Exhausted("every host that is served here has been tried")
        return untried[0]

    def execute(self, history: Any, *args: Any, **kwargs: Any) -> str:
        """The next host. Its number is the attempt's, and part of every effect's key."""
        run = self.run
        try:
            host = self._next(history)
        except StopBuild as request:
            stopped = BuildStopped(request.reason, request.detail)
            self._blame(stopped)
            raise stopped from None
        except StoreError as error:
            raise run.halt(error) from error
        except BuildflowError as error:
            self._blame(error)
            raise
        run.set_attempt(len(history) + 1, host)
        return host

    def _next(self, history: Any) -> str:
        run = self.run
        run.check_stop()
        left = sorted({effect["kind"] for effect in run.leftovers()})
        if left:
            # a guest that could not be stopped may still write to the volume
            raise Refused(f"no other host is tried: {', '.join(left)} could not be removed")
        try:
            return self._choose(history)
        except NoRoom as error:
            if not _failed(history) and run.world.capacity.is_conducted(run.id):
                raise run.give_back(error) from error
            raise

    def _blame(self, error: BuildflowError) -> None:
        self.run.rescheduling = False
        self.run.blame(error, self.name)

    def on_failure(self, history: Any, *args: Any, **kwargs: Any) -> str:
        """Another host, or everything back."""
        _, failures = history[-1]
        # steps that overlap may fail together: one that would fail anywhere decides
        hopeful = all(
            resolve([name.rpartition(".")[2] for name in failure]).resolution
            is Resolution.RESCHEDULE
            for failure in failures.values()
        )
        run = self.run
        going_on = run.stop is None and not run.going_back
        lost_room = _lost_room(failures)
        if lost_room:  # who was faster may not be seen at once by all that choose
            run.clock.sleep(LOST_ROOM_S)
        others = lost_room or self._untried(history)
        if hopeful and going_on and others and len(_failed(history)) < self.max_attempts:
            run.rescheduling = True
            return str(retry.RETRY)
        run.rescheduling = False
        return str(retry.REVERT_ALL)

    def revert(self, history: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: the attempt's steps have undone themselves."""


def _failed(history: Any) -> list[str]:
    """The hosts on which an attempt has failed for another reason than room that was taken."""
    return [host for host, failures in history if not _lost_room(failures)]


def _lost_room(failures: Mapping[str, Any]) -> bool:
    names = [{name.rpartition(".")[2] for name in failure} for failure in failures.values()]
    return bool(names) and all(NoRoom.__name__ in each for each in names)
