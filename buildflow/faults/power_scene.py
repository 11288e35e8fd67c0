"""A machine that has been built, and what its owner and its guest do with its power afterwards.

They take it from each power state into each other one; after each time `gc` is asked, which notes
what the hypervisor reports. What is explored is the `gc`: whoever asked it asks again until it has
told what is so, and another process goes on where one has died.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

import networkx as nx

from buildflow.drivers.protocols import Json
from buildflow.faults.engine_scene import BUILD_ID
from buildflow.faults.machines import Before, MachineScene
from buildflow.faults.scene import Outcome
from buildflow.states import power

# who asks oftener than that for one report will not get it
_ASKED_MAX: Final = 20


def every_change() -> tuple[int, ...]:
    """Power states in an order that goes from each to each other once, from RUNNING to RUNNING."""
    changes = nx.complete_graph(list(power.NAMES), nx.DiGraph)
    return tuple(after for _, after in nx.eulerian_circuit(changes, source=power.RUNNING))


class PowerScene(MachineScene):
    """See the module."""

    def __init__(self, name: str) -> None:
        super().__init__(name, nics=0, volumes=0, prior=Before.BUILT)
        self._changes = every_change()

    def laid_out(self) -> None:
        """See EngineScene."""
        super().laid_out()
        self._next, self._over = 0, False
        self._away: Json | None = None
        self._unanswered: list[Json] = []

    def extra_checkpoint(self) -> Any:
        """See EngineScene."""
        own = self._next, self._over, self._away, tuple(self._unanswered)
        return super().extra_checkpoint(), own

    def restore_extra(self, extra: Any) -> None:
        """See EngineScene."""
        of_machine, own = extra
        super().restore_extra(of_machine)
        self._next, self._over, self._away, unanswered = own
        self._unanswered = list(unanswered)

    def start(self) -> None:
        """See Scene."""
        self._go_on()

    def resume(self) -> None:
        """See Scene."""
        self.injector.new_process()
        self.engine = self._open()
        self._go_on()

    def _go_on(self) -> None:
        while not self._over:
            for _ in range(_ASKED_MAX):
                if self.records.states.power_state == self._now():
                    break
                self._ask()
            if self._next == len(self._changes):
                self._over = True
                return
            self._change(self._changes[self._next])
            self._next += 1

    def _now(self) -> int:
        domain = self.domain()
        return power.NOSTATE if domain is None else int(domain["power"])

    def _change(self, state: int) -> None:
        if state == power.NOSTATE:
            self._away = self.world.take_domain_away(BUILD_ID)
            return
        if self._away is not None:
            self.world.bring_domain_back(self._away)
            self._away = None
        self.world.turn_guest(BUILD_ID, state)

    def _ask(self) -> None:
        injector = self.injector
        injector.step, injector.activity = "gc", ("gc", power.NAMES[self._now()])
        injector.inside, injector.recent = 0, ()
        injector.since = self.clock.monotonic()
        audit = self.engine.gc()  # type: ignore[attr-defined]
        self._unanswered += [{"message": each["reason"]} for each in audit.unknown]

    def outcome(self) -> Outcome:
        """See Scene: it is over when the last change has been told."""
        return super().outcome() if self._over else Outcome.UNFINISHED

    def extra_position(self) -> Hashable:
        """See EngineScene."""
        return super().extra_position(), self._next

    def errors(self) -> list[dict[str, Any]]:
        """See Scene: what `gc` said of those that did not answer."""
        return [*super().errors(), *self._unanswered]
