"""One build while this process owns it: the step protocol forward, and when it stops.

Rules:
* An intent is durable before its effect begins; a result is durable before the next step begins.
* Going forward looks for a stop request at every boundary and in every wait; going back never does,
  and neither does the undo of an attempt that another one follows.
* `points` are where the fault kit may step in; with none armed they cost one comparison.
* What is staged, and how it becomes durable: engine/staging.py. How it goes back: engine/undo.py.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from buildflow.config import Settings
from buildflow.engine.clock import Clock, stamp
from buildflow.engine.complete import Complete
from buildflow.engine.keys import effect_key
from buildflow.engine.locks import KeyedLocks
from buildflow.engine.loop import AtHand
from buildflow.engine.staging import (
    DONE,
    INTENT,
    RESIDUE,
    UNDONE,
    Halt,
    Listener,
    StepEvent,
)
from buildflow.engine.step import Step
from buildflow.engine.store import Row, Store
from buildflow.engine.undo import Undoing
from buildflow.errors import (
    BuildflowError,
    BuildStopped,
    DeadlineExceeded,
    DefinitionError,
    DriverError,
    StaleOwner,
    StateConflict,
    StopBuild,
    StoreError,
)
from buildflow.states.machine import OWNER_OF, TABLES

__all__ = (
    "DONE", "INTENT", "RESIDUE", "UNDONE", "Halt", "Listener", "Points", "Run", "StepEvent",
)  # fmt: skip

# how finely a wait looks at the cancel flag, in seconds
SLICE_S = 0.25
CREATE_ATTEMPTS = 3
ASK_AGAIN_S = 1.0

# why a run ends that another process has taken over; never stored as a stop request
LOST = "lost"


class Points(Protocol):
    """What the fault kit hands in. May raise, sleep, kill the process or change the world."""

    def __call__(self, where: str, subject: str, run: Run) -> None:
        """Called at the point `where` of `subject`, such as `execute` of `wait_for_boot`."""


class Run(Undoing):
    """See the module. Made by the engine for a build that it has just claimed."""

    def __init__(
        self,
        store: Store,
        row: Row,
        flow_uuid: str,
        *,
        world: Any,
        clock: Clock,
        settings: Settings,
        effects: Sequence[Row] = (),
        atom_rows: Sequence[Row] = (),
        points: Points | None = None,
        listener: Listener | None = None,
        deadline: float | None = None,
        locks: KeyedLocks | None = None,
    ) -> None:
        super().__init__(
            store,
            row,
            flow_uuid,
            clock=clock,
            effects=effects,
            atom_rows=atom_rows,
            listener=listener,
        )
        self.world, self.settings, self.points = world, settings, points
        self.locks = locks or KeyedLocks()
        self.deadline = deadline
        self.stop: str | None = row["stop"]
        self.stop_detail = ""
        self.going_back = self.status in ("rolling_back", "residue")
        self.removing = False  # a delete flow goes forward, but nothing stops it
        self.fetch_results: Callable[[], Any] | None = None
        self._wake = threading.Event()
        # steps that go forward now, each with its deadline and the seconds that it was given
        self._forward: dict[str, tuple[float, float]] = {}
        # steps whose moves may have been made by an owner who has died; until they have ended
        self._resumed: set[str] = set()
        self.at_hand = AtHand()

    # --- stopping -------------------------------------------------------------------------------

    def note_stop(self, reason: str, detail: str = "") -> None:
        """Somebody wants this build to stop: it does so at its next safe point. From any thread.

        A delete outranks the other reasons, and having lost the build outranks everything.
        """
        if self.stop is None or reason == LOST or (reason == "deleted" and self.stop != LOST):
            self.stop = reason
            self.stop_detail = detail
        self._wake.set()

    def hear_of_stop(self) -> None:
        """A commit was refused because of a stop request: read which."""
        try:
            stops = self.store.stops([self.id])
        except StoreError as error:
            raise self.halt(error) from error
        self.stored_stop = stops[self.id][0] if self.id in stops else None
        self.note_stop(self.stored_stop or "cancelled")

    def check_stop(self) -> None:
        """A safe point. Raises StopBuild when the build is to stop."""
        if self.halted is not None:
            raise Halt(self.halted)
        if self.stop == LOST:
            raise self.halt(StaleOwner(f"build {self.id} has another owner now"))
        if self.removing:
            return
        if self.stop is not None:
            raise StopBuild(self.stop, self.stop_detail)
        if self.deadline is not None and self.clock.monotonic() > self.deadline:
            self.note_stop("deadline", "the build's time is up")
            raise StopBuild("deadline", self.stop_detail)

    def before_effect(self) -> None:
        """See Staging.before_effect. A rollback too goes on elsewhere once the build is lost."""
        if self.stop == LOST and self.halted is None:
            raise self.halt(StaleOwner(f"build {self.id} has another owner now"))
        super().before_effect()

    def pause(self, step: Step, seconds: float) -> None:
        """See Step.pause."""
        if self.points is not None:
            self.points("wait", step.name, self)
        end = self.clock.monotonic() + seconds
        while True:
            self.check_wait(step)
            now = self.clock.monotonic()
            if now >= end:
                return
            wake = self._wake if step.name in self._forward else None
            self.clock.sleep(min(end - now, SLICE_S), wake)

    def check_wait(self, step: Step) -> None:
        """A safe point inside a step: the cancel flag and the deadlines, while it goes forward."""
        forward = self._forward.get(step.name)
        if forward is None:
            return
        self.check_stop()
        deadline, timeout = forward
        if self.clock.monotonic() >= deadline:
            raise DeadlineExceeded(f"end of {step.label}", timeout)

    @contextmanager
    def hold(self, step: Step, key: str) -> Iterator[None]:
        """Hold what only one build of this process may work on at a time; first come, first served.

        The wait has the step's deadline, and in an undo the undo's.
        """
        end = self.clock.monotonic() + self.settings.undo_timeout_s

        def look() -> None:
            self.check_wait(step)
            if step.name not in self._forward and self.clock.monotonic() >= end:
                raise DeadlineExceeded(f"free {key}", self.settings.undo_timeout_s)

        with self.locks.hold(key, look):
            yield

    def give_back(self, error: BuildflowError) -> Halt:
        """The end of a run that has made nothing and can't go on here now: its build is queued
        again, for whoever takes it next. `error` says why. Raises StopBuild when it is to stop.
        """
        self.check_stop()
        try:
            with self.lock, self.provisionally():
                if self.fault is not None:  # why an attempt came to nothing, not the build
                    self.errors = [self.fault, *self.errors]
                    self.fault = None
                self.host = None
                self.given_back = True
                self.set_status("queued")
                self.commit(unless_stopped=True)
        except StateConflict:
            self.hear_of_stop()
            raise StopBuild(self.stop or "cancelled", self.stop_detail) from None
        return self.halt(error)

    # --- execute --------------------------------------------------------------------------------

    def execute(self, step: Step, inputs: Row) -> Any:
        """The step protocol, forward. What it raises becomes the step's failure in TaskFlow."""
        for name in step.after:
            inputs.pop(name, None)
        timeout = step.timeout_s if step.timeout_s is not None else self.settings.step_timeout_s
        if not self.removing:
            self._forward[step.name] = (self.clock.monotonic() + timeout, timeout)
        try:
            return self._execute(step, inputs)
        except StopBuild as request:
            stopped = BuildStopped(request.reason, request.detail)
            self.blame(stopped, step.name)
            raise stopped from None
        except KeyboardInterrupt:
            self.note_stop("interrupted")
            stopped = BuildStopped("interrupted")
            self.blame(stopped, step.name)
            raise stopped from None
        except SystemExit as error:
            failure = BuildflowError(f"step {step.name} called sys.exit({error.code!r})")
            self.blame(failure, step.name)
            raise failure from None
        except StoreError as error:  # a step that keeps something in the store itself
            raise self.halt(error) from error
        except Exception as error:
            self.blame(error, step.name)
            raise
        finally:
            self._forward.pop(step.name, None)
            self._resumed.discard(step.name)  # on another host it is a step like any other

    def _execute(self, step: Step, inputs: Row) -> Any:
        points = self.points
        self.check_stop()
        if self.status == "queued":
            self.set_status("running")
        if points is not None:
            points("execute", step.name, self)
        self._move_on(step.on_start, step)
        if step.kind is None:
            if not isinstance(step, Complete):  # whose own commit is the boundary
                self.commit()
                self.check_stop()
            result = _json_safe(step, step.perform(**inputs))
            if step.on_done:
                self._move_on(step.on_done, step)
            if points is not None:
                points("recorded", step.name, self)
            return result
        key = effect_key(self.id, step.name, self.attempt)
        effect = self.effects.get(key)
        fresh = effect is None
        if effect is None:
            facts = _json_safe(step, step.facts(**inputs))
            facts.update(step.origin(facts))
            unneeded = step.without_effect(facts)
            if unneeded is not None:
                self.commit()
                self.check_stop()
                return _json_safe(step, unneeded)
            now = stamp(self.clock.now())
            effect = {
                "key": key, "build": self.id, "step": step.name, "kind": step.kind,
                "attempt": self.attempt, "ordinal": len(self.effects), "state": INTENT,
                "external_id": None, "facts": facts, "reason": None, "made_at": now,
            }  # fmt: skip
            self.stage_effect(effect)
        elif effect["state"] == UNDONE:
            raise DefinitionError(
                f"step {step.name}: its effect was undone in this attempt; it is not made again"
            )
        self.commit()  # the intent is durable before the effect begins
        self.check_stop()
        facts = effect["facts"]
        result = None if fresh else step.find(key, facts)
        if result is None:
            result = self._create(step, key, facts)
        if points is not None:
            points("made", step.name, self)
        result = _json_safe(step, step.wait(key, facts, result))
        self.stage_effect(effect, state=DONE, external_id=step.external_id(result))
        if step.on_done:
            self._move_on(step.on_done, step)
        if points is not None:
            points("recorded", step.name, self)
        return result

    def _create(self, step: Step, key: str, facts: Row) -> Any:
        """Make the effect. When the answer is lost the world is asked before it is done again."""
        for attempt in range(1, CREATE_ATTEMPTS + 1):
            self.before_effect()
            self.made[key] = step
            try:
                return step.create(key, facts)
            except DriverError as error:
                if not error.outcome_unknown:
                    raise
                found = self._ask_world(step, key, facts, error)
                if found is not None:
                    return found
                if attempt == CREATE_ATTEMPTS:
                    raise
                self.check_wait(step)
        raise AssertionError("unreachable")

    def _ask_world(self, step: Step, key: str, facts: Row, lost: DriverError) -> Any:
        """Find by key until the world answers; None when it says that nothing is there."""
        while True:
            try:
                return step.find(key, facts)
            except DriverError as error:
                if not error.outcome_unknown:
                    raise lost from error
                self.pause(step, ASK_AGAIN_S)

    def _move_on(self, triggers: Sequence[str], step: Step) -> None:
        """Fire `triggers`, except when a crash after their commit has left us behind them."""
        if self.states is None or not triggers:
            return
        if step.name in self._resumed and all(self._is_past(trigger) for trigger in triggers):
            return
        self.move(triggers, step.name)

    def _is_past(self, trigger: str) -> bool:
        if self.states is None:
            return False
        table = TABLES[OWNER_OF[trigger]]
        value = getattr(self.states, table.attribute)
        return any(row.dest == value for row in table.rows if row.trigger == trigger)

    def resumed_from(self, running: Iterable[str]) -> None:
        """Name the steps that were running when the last owner died: their moves may be made."""
        self._resumed = set(running)

    # --- the end that everybody hopes for -------------------------------------------------------

    def complete(self, step: str, triggers: Sequence[str]) -> None:
        """The last commit of a build that succeeded, still inside the undo scope.

        Raises StopBuild when a stop was asked for: it wins.
        """
        if self.status == "complete":
            return
        left = sorted({e["kind"] for e in self.effects.values() if e["state"] == RESIDUE})
        if left:
            raise DriverError(f"not complete: {', '.join(left)} could not be removed")
        # the move stays when the commit is refused: the rollback walks it back, as any other
        self.move(triggers, step)
        try:
            with self.lock, self.provisionally():
                if self.fault is not None:  # an earlier attempt's: the build has none after all
                    self.errors = [self.fault, *self.errors]
                    self.fault = None
                if self.states is None and self.fetch_results is not None:
                    self.results = self.fetch_results()
                self.set_status("complete")
                self._ending_step = step
                self.commit(unless_stopped=True)
        except StateConflict:
            self.hear_of_stop()
            raise StopBuild(self.stop or "cancelled", self.stop_detail) from None


def _json_safe(step: Step, value: Any) -> Any:
    """`value`, once it is sure that it comes back from the store as it went in."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    try:
        survives = json.loads(json.dumps(value)) == value
    except (TypeError, ValueError):
        survives = False
    if not survives:
        raise DefinitionError(
            f"step {step.name}: what it returns does not survive JSON: use dictionaries with text"
            " keys, lists, text, numbers, true, false and null"
        )
    return value
