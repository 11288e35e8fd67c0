"""The retry over hosts round one attempt (nova/conductor/manager.py: build_instances)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from taskflow import retry

from buildflow.errors import BuildStopped
from buildflow.flows.reschedule import Resolution, resolve

if TYPE_CHECKING:
    from buildflow.engine.run import Run


class OverHosts(retry.Retry):  # type: ignore[misc]
    """Provides `host`: each candidate once, at most `max_attempts`, with full undo between them.

    Which failures go on to the next host, flows/reschedule.py says.
    """

    run: Run

    def __init__(self, name: str, hosts: Sequence[str], max_attempts: int = 3) -> None:
        super().__init__(name, provides="host")
        self.hosts = list(hosts)
        self.max_attempts = max_attempts
        self.label = name
        self.kind = None

    def _candidates(self) -> list[str]:
        hosts = self.hosts or self.run.world.hosts
        return list(hosts)[: self.max_attempts]

    def execute(self, history: Any, *args: Any, **kwargs: Any) -> str:
        """The next host. Its number is the attempt's, and part of every effect's key."""
        if self.run.stop is not None:
            stopped = BuildStopped(self.run.stop, self.run.stop_detail)
            self.run.blame(stopped, self.name)
            raise stopped
        attempt = len(history) + 1
        host = self._candidates()[attempt - 1]
        self.run.set_attempt(attempt, host)
        return host

    def on_failure(self, history: Any, *args: Any, **kwargs: Any) -> str:
        """Another host, or everything back."""
        _, failures = history[-1]
        names = [name.rpartition(".")[2] for failure in failures.values() for name in failure]
        more = len(history) < len(self._candidates())
        if more and self.run.stop is None and resolve(names).resolution is Resolution.RESCHEDULE:
            self.run.rescheduling = True
            return str(retry.RETRY)
        self.run.rescheduling = False
        return str(retry.REVERT_ALL)

    def revert(self, history: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: the attempt's steps have undone themselves."""
