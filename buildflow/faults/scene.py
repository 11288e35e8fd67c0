"""A scene: a world, a store and something that runs in them, laid out anew for each exploration.

The kit knows scenes only. Ready ones are the machines' (machines.py), flows of buildflow steps
(own_flow.py) and flows of plain TaskFlow tasks (plain_tasks.py).
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from typing import Any

from buildflow.engine.clock import VirtualClock
from buildflow.faults.injector import Injector
from buildflow.faults.kinds import KINDS, Kind
from buildflow.faults.visit import Visit

Inventory = dict[str, Any]
Checkpoint = Callable[[Injector], None]
"""Puts a scene back to where a process has died, with this injector at every point; `resume` goes
on from there.
"""


class Outcome(StrEnum):
    """How a scenario ended."""

    COMPLETE = "complete"
    ROLLED_BACK = "rolled_back"
    RESIDUE = "residue"
    UNFINISHED = "unfinished"


class Scene(ABC):
    """See the module. `name` goes into tokens: letters, digits and '-'."""

    name: str = "scene"
    kinds: tuple[Kind, ...] = KINDS
    hang_s: float = 301.0
    # names of the points at which faults may strike; None for every one
    only_at: re.Pattern[str] | None = None
    # whether a crash in mid-run is survived by going on; else it may leave anything
    resumes: bool = True
    # whether what is left must be told in a list
    lists_residue: bool = True
    # how a run without faults is to end
    ends: Outcome = Outcome.COMPLETE

    clock: VirtualClock
    injector: Injector

    @abstractmethod
    def lay_out(self) -> None:
        """Make world, store and run; nothing has begun."""

    @abstractmethod
    def arm(self, injector: Injector) -> None:
        """Put the injector at every point."""

    @abstractmethod
    def start(self) -> None:
        """Run to the end, in this thread. May raise Killed or StoreError on the way."""

    @abstractmethod
    def resume(self) -> None:
        """Go on as a new process; may raise as `start` does."""

    def telling_all(self) -> AbstractContextManager[None]:
        """While it is so, everything that is logged is told, so that a secret in it is seen."""
        return nullcontext()

    @abstractmethod
    def outcome(self) -> Outcome:
        """How it has ended, or UNFINISHED."""

    def ended(self) -> bool:
        """Whether how it has ended is written down, so that nothing can change it any more."""
        return self.outcome() is not Outcome.UNFINISHED

    @abstractmethod
    def inventory(self) -> Inventory:
        """What exists outside, each thing under a name of its own. JSON."""

    def before(self) -> Inventory:
        """What was there before anything of the run was; asked once it is laid out."""
        return self.inventory()

    def position(self, visit: Visit | None) -> Hashable | None:
        """Where the run is: all that can make a difference to how it goes on, states, records and
        inventory. Two runs at equal positions go on alike. None when that can't be told.
        """
        return None

    def left_behind(self) -> Hashable:
        """What there is of the run once its process is gone, as in `position`."""
        return None

    def checkpoint(self) -> Checkpoint | None:
        """What there is of the run once its process is gone; None where that can't be kept. Costs
        little: it is asked for at many positions.
        """
        return None

    def applies(self, kind: Kind, visit: Visit) -> bool:
        """Whether there is anything that `kind` could happen to now."""
        return False

    def act(self, kind: Kind, visit: Visit) -> bool:
        """Let it happen; returns whether anything came of it."""
        return False

    def finish(self) -> None:  # noqa: B027 - nothing is what a scene without a clean-up does
        """Let the run's own clean-up command work, without faults; for what is residue."""

    def swept(self) -> bool:
        """Have what no list of the run's names searched for and removed, where that is right: a
        call that was on its way when another owner ended the run, whose maker died before it could
        take it back. Returns whether anything was found, and all of it removed.
        """
        return False

    def undo_all(self) -> None:  # noqa: B027 - as `finish`
        """Remove what a complete run has made, by its own delete; nothing where there is none."""

    def residue(self) -> dict[str, str]:
        """What the run's own list says is left: a name for each thing, and its effect's kind."""
        return {}

    def waiting(self) -> frozenset[str]:
        """Those of the residue that were not tried, for another one had to go first."""
        return frozenset()

    def present(self) -> dict[str, str] | None:
        """What of the run's effects exists outside, named as in `residue`; None if unknown."""
        return None

    def made(self) -> dict[str, str]:
        """The effects that the run knows to have been made, named as in `residue`: their steps."""
        return {}

    def tolerated(self) -> frozenset[str]:
        """Names of the inventory that a change by hand makes either way all right."""
        return frozenset()

    def writes(self) -> int:
        """How often the run's records were written."""
        return 0

    def flaws(self) -> list[str]:
        """What this scene itself has seen that must never happen, as `rule: text`."""
        return []

    def fault(self) -> dict[str, Any] | None:
        """The error that the run reports: `type`, `message`."""
        return None

    def own_errors(self) -> list[str]:
        """Errors among those reported that nothing outside can be why of, as `rule: text`."""
        return []

    def asked_back(self) -> bool:
        """Whether somebody wanted it rolled back, so that no fault need be why."""
        return False

    def asks_others(self, visit: Visit) -> bool:
        """Whether what fails here is asked of somebody else, and the run need not say so."""
        return False

    def errors(self) -> list[dict[str, Any]]:
        """The errors that it reports beside that one."""
        return []

    def wrong_at_end(self, outcome: Outcome) -> list[str]:
        """What this kind of run must be true to when it has ended so, as `rule: text`."""
        return []

    def vm_state(self) -> str | None:
        """The machine's state, for a run that builds one."""
        return None

    def edges(self) -> int:
        """Declared transitions that were taken, as bits of `edge_names`."""
        return 0

    def edge_names(self) -> tuple[str, ...]:
        """Every declared transition."""
        return ()
