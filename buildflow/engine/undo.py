"""Going back: what is undone, in which order, with how much patience, and what stays as residue.

Rules:
* Everything works from the ledger, by key: what a step returned may be lost.
* An undo that fails is tried again with back-off until its deadline, then becomes residue with the
  reason. It never stops the undos that do not depend on it; those that do are not tried.
* Nothing here listens to a stop: a rollback that has begun goes on to its end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tenacity
from taskflow import states as tf_states

from buildflow.config import Settings
from buildflow.engine.clock import stamp
from buildflow.engine.staging import RESIDUE, UNDONE, Staging
from buildflow.engine.step import Step
from buildflow.engine.store import Row
from buildflow.errors import (
    HostElsewhere,
    InvalidTransition,
    Refused,
    StateConflict,
    StoreError,
    one_line,
)
from buildflow.states import power, task
from buildflow.states.machine import OWNER_OF, TABLES


class Undoing(Staging):
    """The backward half of a run (engine/run.py)."""

    settings: Settings
    points: Any
    going_back = False
    stop: str | None
    _stuck = False

    def revert(self, step: Step) -> None:
        """The step protocol, backward. Never raises for what the outside world does."""
        if self.status == "complete":
            return  # the build's row decides: what is complete is never taken apart by a revert
        self.begin_going_back()
        if self.points is not None:
            self.points("revert", step.name, self)
        self.commit()
        for effect in self.effects_of(step.name):
            self.undo(step, effect)
        self._compensate(step)
        if self.points is not None:
            self.points("reverted", step.name, self)

    def begin_going_back(self) -> None:
        """From here on the build is rolled back, unless another attempt is going to follow."""
        if self.rescheduling or self.going_back:
            return
        self.going_back = True
        if self.status != "rolling_back":
            self.set_status("rolling_back")
        if self.stop == "deleted":
            self.begin_deleting()

    def begin_deleting(self) -> None:
        """A delete wins: from here on the task machine says so, whatever is undone meanwhile."""
        if self.states is not None and self.states.task_state != task.DELETING:
            self.move(("start_deleting",), None)

    def effects_of(self, step: str) -> list[Row]:
        """What `step` made and what is not undone, newest first."""
        mine = [e for e in self.effects.values() if e["step"] == step and e["state"] != UNDONE]
        return sorted(mine, key=lambda e: -e["ordinal"])

    def leftovers(self) -> list[Row]:
        """Effects that are not undone, newest first."""
        left = [e for e in self.effects.values() if e["state"] != UNDONE]
        return sorted(left, key=lambda e: -e["ordinal"])

    def undo_step(self, step: Step) -> bool:
        """Undo everything that `step` made and that is still there; whether all of it is gone."""
        gone = [self.undo(step, effect) for effect in self.effects_of(step.name)]
        return all(gone)

    def undo(self, step: Step, effect: Row) -> bool:
        """Undo one effect, with retries until its deadline; what stays becomes residue."""
        blockers = self._blockers(step, effect)
        if blockers:
            names = ", ".join(blockers)
            self.stage_effect(effect, state=RESIDUE, reason=f"not tried: {names} is still there")
            return False
        points = self.points
        try:
            if points is not None:
                points("undo", step.name, self)
            self._delete(step, effect)
        except StoreError as error:
            raise self.halt(error) from error
        except Exception as error:
            reason = f"{type(error).__name__}: {one_line(error)}"
            self.stage_effect(effect, state=RESIDUE, reason=reason)
            self.blame(error, f"undo of {step.name}")
            return False
        self.stage_effect(effect, state=UNDONE, reason=None)
        if points is not None:
            points("undone", step.name, self)
        return True

    def _blockers(self, step: Step, effect: Row) -> list[str]:
        """Kinds that must be gone first and are not: of the same attempt, and about the same thing.

        One port that can't be unbound does not keep another one from being deleted.
        """
        kinds = set()
        for other in self.effects.values():
            if other["kind"] not in step.undo_after or other["state"] == UNDONE:
                continue
            if other["attempt"] != effect["attempt"] or other["key"] == effect["key"]:
                continue
            maker = self.steps.get(other["step"])
            about = maker.about if maker is not None else None
            if step.about is None or about is None or about == step.about:
                kinds.add(other["kind"])
        return sorted(kinds)

    def _delete(self, step: Step, effect: Row) -> None:
        elsewhere = step.elsewhere(effect["facts"])
        if elsewhere is not None:
            raise Refused(elsewhere)
        clock = self.clock
        start = clock.monotonic()

        def once() -> None:
            self.before_effect()
            step.delete(effect["key"], effect["facts"])

        try:
            once()
        except _FINAL:
            raise
        except Exception:
            # only now: an undo that works at once, as nearly all do, needs no such apparatus
            retrying = tenacity.Retrying(
                retry=tenacity.retry_if_exception(_may_pass),
                stop=lambda _: clock.monotonic() - start >= self.settings.undo_timeout_s,
                wait=tenacity.wait_exponential(multiplier=0.1, max=5),
                sleep=clock.sleep,
                reraise=True,
            )
            clock.sleep(0.05)
            retrying(once)

    def _compensate(self, step: Step) -> None:
        """Walk the machine back over what this step moved, as far as it went.

        Residue holds it where it is: the state that it gives up from says how far the rollback
        came, and what is left belongs to that state or to a later one.
        """
        if self.states is None or self.states.task_state == task.DELETING or self._stuck:
            return
        moves = [m for m in (getattr(step, "triggers", ()), step.on_done, step.on_start) if m]
        if moves and any(e["state"] == RESIDUE for e in self.effects.values()):
            return
        for triggers in moves:
            undo: list[str] = []
            for trigger in reversed(triggers):
                table = TABLES[OWNER_OF[trigger]]
                value = getattr(self.states, table.attribute)
                row = next(
                    (r for r in table.rows if r.trigger == trigger and r.dest == value), None
                )
                if row is None or row.undo is None:
                    break
                undo.append(row.undo)
            else:
                if not undo:
                    continue
                try:
                    self.move(undo, step.name)
                except InvalidTransition:
                    # a power state that is told of a guest holds it as well
                    self._stuck = True
                    return

    # --- without TaskFlow: what its revert passed over, and what is residue ---------------------

    def sweep(self, *, again: bool = False) -> None:
        """Undo what TaskFlow's revert passed over; with `again`, what is residue as well."""
        for effect in self.leftovers():
            if effect["state"] == RESIDUE and not again:
                continue
            step = self.steps.get(effect["step"])
            if step is None or step.kind is None:
                self.stage_effect(
                    effect,
                    state=RESIDUE,
                    reason=f"this version's flow has no step {effect['step']!r} to undo it",
                )
                continue
            self.commit(fence=True)
            if self.listener is not None:
                self._tell(step.name, tf_states.REVERTING, stamp(self.clock.now()))
            self.undo(step, effect)
            self.commit()
            if self.listener is not None:
                self._tell(step.name, tf_states.REVERTED, stamp(self.clock.now()))

    def end_rollback(self) -> None:
        """Sweep, and commit how the rollback ended: nothing left, or residue.

        A delete request that lands meanwhile still makes it a delete.
        """
        self.begin_going_back()
        self.sweep()
        while True:
            if self.stop == "deleted":
                self.begin_deleting()
            try:
                self._end()
            except StateConflict:
                self.hear_of_stop()
            else:
                return

    def _end(self) -> None:
        left = self.leftovers()
        with self.lock, self.provisionally():
            states = self.states
            if states is not None:
                if states.task_state == task.DELETING:
                    if not left:
                        self.report_power(power.NOSTATE, None)
                        self.move((f"delete_{states.vm_state}", "finish_deleting"), None)
                elif states.vm_state == "building":
                    if states.task_state is None:
                        self.move(("fail",), None)
                    else:
                        self.move(("fail", "give_up"), None)
            self.set_status("residue" if left else "rolled_back")
            self.commit(unless_stopped=True)

    hear_of_stop: Callable[[], None]


# a store that is away has been waited for already, and a rollback goes on when it is back
_FINAL = (Refused, HostElsewhere, StoreError)


def _may_pass(error: BaseException) -> bool:
    """Whether an undo is worth trying again: not when the world would answer no again."""
    return isinstance(error, Exception) and not isinstance(error, _FINAL)
