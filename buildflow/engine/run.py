"""One build while this process owns it: the step protocol, its boundaries, its stops, its undo.

Rules:
* Everything a boundary changes (TaskFlow's records, the state move and its history line, effects,
  the build's row) is staged here and made durable by one `commit`, fenced by epoch and sequence.
* An intent is durable before its effect begins; a result is durable before the next step begins.
* Going forward looks for a stop request at every boundary and in every wait; going back never does.
* An undo that fails becomes residue and never stops the other undos; those that depend on it wait.
* `points` are where the fault kit may step in; with none armed they cost one comparison.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import tenacity
from taskflow import states as tf_states

from buildflow.config import Settings
from buildflow.engine.clock import Clock, stamp
from buildflow.engine.complete import Complete
from buildflow.engine.journal import Unit
from buildflow.engine.keys import effect_key
from buildflow.engine.locks import KeyedLocks
from buildflow.engine.persistence import encode_detail
from buildflow.engine.step import Step
from buildflow.engine.store import Row, Store
from buildflow.errors import (
    BuildflowError,
    BuildStopped,
    DeadlineExceeded,
    DefinitionError,
    DriverError,
    InvalidTransition,
    Refused,
    StaleOwner,
    StateConflict,
    StopBuild,
    StoreError,
    fault_dict,
)
from buildflow.states import InstanceStates, apply, power, task
from buildflow.states.machine import OWNER_OF, TABLES

# how finely a wait looks at the cancel flag, in seconds
SLICE_S = 0.25
CREATE_ATTEMPTS = 3

# the states of an effect
INTENT, DONE, UNDONE, RESIDUE = "intent", "done", "undone", "residue"


class Halt(BaseException):
    """Ends a run at once, leaving its build as a crash would: the store or the ownership is lost."""

    def __init__(self, error: BuildflowError) -> None:
        self.error = error
        super().__init__(str(error))


class Points(Protocol):
    """What the fault kit hands in. May raise, sleep, kill the process or change the world."""

    def __call__(self, where: str, subject: str, run: Run) -> None:
        """Called at the point `where` of `subject`, such as `execute` of `wait_for_boot`."""


@dataclass(frozen=True, slots=True)
class StepEvent:
    """Something that a listener may show. `state` is TaskFlow's; `at` an ISO 8601 stamp."""

    build: str
    step: str
    label: str
    state: str
    at: str
    status: str
    error: str | None = None


Listener = Callable[[StepEvent], None]


class Run:
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
        effects: Iterable[Row] = (),
        atom_rows: Iterable[Row] = (),
        points: Points | None = None,
        listener: Listener | None = None,
        deadline: float | None = None,
    ) -> None:
        self.id: str = row["id"]
        self.row = row
        self.epoch: int = row["epoch"]
        self.seq: int = row["seq"]
        self.status: str = row["status"]
        self.attempt: int = row["attempt"]
        self.host: str | None = row["host"]
        self.fault: Row | None = row["fault"]
        self.errors: list[Row] = list(row["errors"] or ())
        self.results: Any = row["results"]
        self.finished_at: str | None = row["finished_at"]
        self.stop: str | None = row["stop"]
        self.stop_detail = ""
        self.states: InstanceStates | None = None
        self.version = 0
        if row["vm_state"] is not None:
            self.states = InstanceStates(row["vm_state"], row["task_state"], row["power_state"])
            self.version = row["version"]
        self.live_name: str | None = row["live_name"]
        self.network_info = row.get("network_info")
        self.block_device_info = row.get("block_device_info")

        self.store, self.world, self.clock, self.settings = store, world, clock, settings
        self.points, self.listener = points, listener
        self.deadline = deadline
        self.flow_uuid = flow_uuid
        self.effects: dict[str, Row] = {row["key"]: dict(row) for row in effects}
        self.rescheduling = False
        self.going_back = self.status in ("rolling_back", "residue")
        self.removing = False  # a delete flow goes forward, but nothing stops it
        self.made: list[tuple[Step, str]] = []  # effects made since the last commit
        self.steps: dict[str, Step] = {}

        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._times: dict[str, Row] = {
            row["name"]: {name: row[name] for name in _TIMES} for row in atom_rows
        }
        self._atom_states: dict[str, str] = {row["name"]: row["state"] for row in atom_rows}
        self._stuck = False
        self.locks: KeyedLocks = KeyedLocks()
        self.fetch_results: Callable[[], Any] | None = None
        self._dirty_atoms: dict[str, Any] = {}
        self._dirty_flow: Any = None
        self._dirty_effects: dict[str, Row] = {}
        self._new_history: list[Row] = []
        self._dirty_build = False
        self._dirty_info = False
        self._moved = False

    # --- staging ---------------------------------------------------------------------------------

    def record_atom(self, detail: Any) -> None:
        """TaskFlow changed an atom (engine/persistence.py: Recorder)."""
        with self._lock:
            self._dirty_atoms[detail.name] = detail
            if self._atom_states.get(detail.name) == detail.state:
                return
            self._atom_states[detail.name] = detail.state
            now = stamp(self.clock.now())
            times = self._times.setdefault(detail.name, dict.fromkeys(_TIMES))
            column = _TIME_OF.get(detail.state)
            if column is not None:
                times[column] = now
                if column == "started_at":
                    for later in _TIMES[1:]:
                        times[later] = None
        self._tell(detail.name, detail.state, now)

    def record_flow(self, detail: Any) -> None:
        """TaskFlow changed the flow's detail."""
        with self._lock:
            self._dirty_flow = detail

    def _tell(self, step: str, state: str, at: str) -> None:
        if self.listener is not None:
            found = self.steps.get(step)
            label = found.label if found is not None else step
            message = None
            if state == tf_states.FAILURE and self.fault is not None:
                message = self.fault["message"]
            if state == tf_states.REVERTED:
                left = [e for e in self._effects_of(step) if e["state"] == RESIDUE]
                if left:  # to TaskFlow it is reverted: an undo never raises
                    state, message = tf_states.REVERT_FAILURE, left[0]["reason"]
            self.listener(StepEvent(self.id, step, label, state, at, self.status, message))

    def move(self, triggers: Sequence[str], step: str | None) -> None:
        """Stage a state move; InvalidTransition changes nothing. A flow without states has none."""
        if self.states is None or not triggers:
            return
        with self._lock:
            states = apply(self.states, triggers)
            self.states = states
            self._moved = True
            self._new_history.append(
                {
                    "build": self.id,
                    "at": stamp(self.clock.now()),
                    "trigger": "+".join(triggers),
                    "step": step,
                    "vm_state": states.vm_state,
                    "task_state": states.task_state,
                    "power_state": states.power_state,
                }
            )

    def report_power(self, value: int, step: str | None) -> None:
        """Stage what the hypervisor reported, when it differs from what was known."""
        if self.states is not None and value != self.states.power_state:
            self.move((power.report_trigger(value),), step)

    def set_info(self, *, network_info: Any = None, block_device_info: Any = None) -> None:
        """Stage the instance's documented data."""
        with self._lock:
            if network_info is not None:
                self.network_info = network_info
            if block_device_info is not None:
                self.block_device_info = block_device_info
            self._dirty_info = True

    def set_status(self, status: str) -> None:
        """Stage the build's status."""
        with self._lock:
            self.status = status
            self._dirty_build = True
            if status in ("complete", "rolled_back", "residue"):
                self.finished_at = stamp(self.clock.now())
            if status == "rolled_back":
                self.live_name = None

    def set_attempt(self, attempt: int, host: str | None) -> None:
        """Stage which try this is, and on which host."""
        with self._lock:
            self.attempt, self.host = attempt, host
            self.rescheduling = False
            self._dirty_build = True

    def blame(self, error: BaseException, step: str) -> None:
        """Stage `error`: the first is the build's fault, later ones stand beside it."""
        with self._lock:
            fault = fault_dict(error, step=step)
            if self.attempt > 1 or self.row["attempt"] > 1:
                fault["attempt"] = self.attempt
            if self.fault is None:
                self.fault = fault
            else:
                self.errors.append(fault)
            self._dirty_build = True

    def _stage_effect(self, effect: Row, **changes: Any) -> None:
        with self._lock:
            effect.update(changes, changed_at=stamp(self.clock.now()))
            self.effects[effect["key"]] = effect
            self._dirty_effects[effect["key"]] = effect

    # --- the commit --------------------------------------------------------------------------------

    def commit(self, *, unless_stopped: bool = False) -> None:
        """Make everything staged durable, at once or not at all.

        Raises Halt when the store fails or another owner has the build, StateConflict when
        `unless_stopped` and a stop was asked for.
        """
        with self._lock:
            unit = self._unit(unless_stopped)
            if unit is None:
                return
            try:
                stop = self.store.journal.commit(unit)
            except StateConflict:
                if unless_stopped:
                    raise
                raise Halt(StaleOwner(f"build {self.id}: its row was changed by another")) from None
            except (StoreError, StaleOwner) as error:
                raise Halt(error) from error
            self.seq = unit.seq
            if self._moved:
                self.version += 1
            self._clear()
            self.made.clear()
        if stop is not None:
            self.note_stop(stop)

    def _unit(self, unless_stopped: bool) -> Unit | None:
        s = self.store.statements
        many: list[tuple[Any, list[Mapping[str, Any]]]] = []
        if self._dirty_build:
            many.append((s.build_status, [self._build_row()]))
        if self._new_history:
            many.append((s.history, list(self._new_history)))
        if self._dirty_effects:
            many.append((s.effect, [_effect_row(e) for e in self._dirty_effects.values()]))
        if self._dirty_info:
            many.append(
                (
                    s.instance_info,
                    [
                        {
                            "b_id": self.id,
                            "network_info": _dump(self.network_info),
                            "block_device_info": _dump(self.block_device_info),
                        }
                    ],
                )
            )
        if self._dirty_flow is not None:
            flow = self._dirty_flow
            many.append(
                (
                    s.flow,
                    [
                        {
                            "uuid": flow.uuid, "build": self.id, "name": flow.name,
                            "state": flow.state, "meta": _dump(flow.meta),
                        }
                    ],
                )
            )  # fmt: skip
        if self._dirty_atoms:
            many.append((s.atom, [self._atom_row(d) for d in self._dirty_atoms.values()]))
        if not many and not self._moved:
            return None
        unit = Unit(self.id, self.epoch, self.seq + 1, unless_stopped)
        unit.many = many
        if self._moved and self.states is not None:
            unit.instance = {
                "b_id": self.id,
                "b_version": self.version,
                "vm_state": self.states.vm_state,
                "task_state": self.states.task_state,
                "power_state": self.states.power_state,
                "version": self.version + 1,
            }
        return unit

    def _clear(self) -> None:
        self._dirty_atoms = {}
        self._dirty_flow = None
        self._dirty_effects = {}
        self._new_history = []
        self._dirty_build = self._dirty_info = self._moved = False

    def _build_row(self) -> Row:
        owner = None if self.status in ("complete", "rolled_back", "residue") else self.row["owner"]
        return {
            "b_id": self.id,
            "status": self.status,
            "live_name": self.live_name,
            "owner": owner,
            "attempt": self.attempt,
            "host": self.host,
            "fault": _dump(self.fault),
            "errors": _dump(self.errors or None),
            "results": _dump(self.results),
            "finished_at": self.finished_at,
        }

    def _atom_row(self, detail: Any) -> Row:
        return {
            "flow": self.flow_uuid,
            "name": detail.name,
            "uuid": detail.uuid,
            "kind": _KINDS[type(detail).__name__],
            "state": detail.state,
            "intention": detail.intention,
            "detail": json.dumps(encode_detail(detail)),
            **self._times.get(detail.name, _NO_TIMES),
        }

    # --- stopping ----------------------------------------------------------------------------------

    def note_stop(self, reason: str, detail: str = "") -> None:
        """Somebody wants this build to stop: it does so at its next safe point. From any thread."""
        if self.stop is None or reason == "deleted":
            self.stop = reason
            self.stop_detail = detail
        self._wake.set()

    def check_stop(self) -> None:
        """A safe point. Raises StopBuild when the build is to stop and is still going forward."""
        if self.going_back or self.removing:
            return
        if self.stop is not None:
            raise StopBuild(self.stop, self.stop_detail)
        if self.deadline is not None and self.clock.monotonic() > self.deadline:
            raise StopBuild("deadline", "the build's time is up")

    def pause(self, step: Step, seconds: float) -> None:
        """See Step.pause."""
        if self.points is not None:
            self.points("wait", step.name, self)
        end = self.clock.monotonic() + seconds
        while True:
            self.check_stop()
            now = self.clock.monotonic()
            deadline = getattr(step, "_deadline", None)
            if deadline is not None and now >= deadline and not self.going_back:
                raise DeadlineExceeded(f"end of {step.label}", step._timeout)
            if now >= end:
                return
            going_back = self.going_back or self.removing
            wake = None if going_back else self._wake
            self.clock.sleep(min(end - now, SLICE_S), wake)

    # --- execute -----------------------------------------------------------------------------------

    def execute(self, step: Step, inputs: Row) -> Any:
        """The step protocol, forward. What it raises becomes the step's failure in TaskFlow."""
        for name in step.after:
            inputs.pop(name, None)
        timeout = step.timeout_s if step.timeout_s is not None else self.settings.step_timeout_s
        step._timeout = timeout
        step._deadline = self.clock.monotonic() + timeout
        try:
            return self._execute(step, inputs)
        except StopBuild as request:
            error = BuildStopped(request.reason, request.detail)
            self.blame(error, step.name)
            raise error from None
        except Exception as error:
            self.blame(error, step.name)
            raise

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
            unneeded = step.without_effect(facts)
            if unneeded is not None:
                self.commit()
                return _json_safe(step, unneeded)
            now = stamp(self.clock.now())
            effect = {
                "key": key, "build": self.id, "step": step.name, "kind": step.kind,
                "attempt": self.attempt, "ordinal": len(self.effects), "state": INTENT,
                "external_id": None, "facts": facts, "reason": None, "made_at": now,
            }  # fmt: skip
            self._stage_effect(effect)
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
        self._stage_effect(effect, state=DONE, external_id=step.external_id(result))
        if step.on_done:
            self._move_on(step.on_done, step)
        if points is not None:
            points("recorded", step.name, self)
        return result

    def _create(self, step: Step, key: str, facts: Row) -> Any:
        """Make the effect. When the answer is lost the world is asked before it is done again."""
        self.made.append((step, key))
        for attempt in range(1, CREATE_ATTEMPTS + 1):
            try:
                return step.create(key, facts)
            except DriverError as error:
                if not error.outcome_unknown or attempt == CREATE_ATTEMPTS:
                    raise
                found = self._ask_world(step, key, facts, error)
                if found is not None:
                    return found
        raise AssertionError("unreachable")

    def _ask_world(self, step: Step, key: str, facts: Row, lost: DriverError) -> Any:
        """Find by key until the world answers; None when it says that nothing is there."""
        while True:
            try:
                return step.find(key, facts)
            except DriverError as error:
                if not error.outcome_unknown:
                    raise lost from error
                self.pause(step, 1.0)

    def _move_on(self, triggers: Sequence[str], step: Step) -> None:
        """Fire `triggers`, except when a crash after their commit has left us behind them."""
        if self.states is None or not triggers:
            return
        if all(self._is_past(trigger) for trigger in triggers) and step.name in self._repeated():
            return
        self.move(triggers, step.name)

    def _is_past(self, trigger: str) -> bool:
        if self.states is None:
            return False
        table = TABLES[OWNER_OF[trigger]]
        value = getattr(self.states, table.attribute)
        return any(row.dest == value for row in table.rows if row.trigger == trigger)

    def _repeated(self) -> frozenset[str]:
        return self._resumed

    _resumed: frozenset[str] = frozenset()

    def resumed_from(self, running: Iterable[str]) -> None:
        """Name the steps that were running when the last owner died: their moves may be made."""
        self._resumed = frozenset(running)

    # --- revert ------------------------------------------------------------------------------------

    def revert(self, step: Step) -> None:
        """The step protocol, backward. Never raises for what the outside world does."""
        if self.status == "complete":
            return  # the build's row decides: what is complete is never taken apart by a revert
        self._begin_going_back()
        if self.points is not None:
            self.points("revert", step.name, self)
        self.commit()
        for effect in self._effects_of(step.name):
            self.undo(step, effect)
        self._compensate(step)
        if self.points is not None:
            self.points("reverted", step.name, self)

    def _begin_going_back(self) -> None:
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

    def _effects_of(self, step: str) -> list[Row]:
        mine = [e for e in self.effects.values() if e["step"] == step and e["state"] != UNDONE]
        return sorted(mine, key=lambda e: -e["ordinal"])

    def undo_step(self, step: Step) -> None:
        """Undo everything that `step` made and that is still there; for a delete."""
        for effect in self._effects_of(step.name):
            self.undo(step, effect)

    def undo(self, step: Step, effect: Row) -> bool:
        """Undo one effect, with retries until its deadline; what stays becomes residue."""
        blockers = self._blockers(step, effect)
        if blockers:
            names = ", ".join(blockers)
            self._stage_effect(effect, state=RESIDUE, reason=f"not tried: {names} is still there")
            return False
        points = self.points
        try:
            if points is not None:
                points("undo", step.name, self)
            self._delete(step, effect)
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            self._stage_effect(effect, state=RESIDUE, reason=reason)
            self.blame(error, f"undo of {step.name}")
            return False
        self._stage_effect(effect, state=UNDONE, reason=None)
        if points is not None:
            points("undone", step.name, self)
        return True

    def _blockers(self, step: Step, effect: Row) -> list[str]:
        return sorted(
            {
                other["kind"]
                for other in self.effects.values()
                if other["kind"] in step.undo_after
                and other["state"] != UNDONE
                and other["attempt"] == effect["attempt"]
                and other["key"] != effect["key"]
            }
        )

    def _delete(self, step: Step, effect: Row) -> None:
        clock = self.clock
        start = clock.monotonic()
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_may_pass),
            stop=lambda _: clock.monotonic() - start >= self.settings.undo_timeout_s,
            wait=tenacity.wait_exponential(multiplier=0.1, max=5),
            sleep=clock.sleep,
            reraise=True,
        )
        retrying(step.delete, effect["key"], effect["facts"])

    def _compensate(self, step: Step) -> None:
        """Walk the machine back over what this step moved, as far as it went."""
        if self.states is None or self.states.task_state == task.DELETING or self._stuck:
            return
        for triggers in (step.on_done, step.on_start):
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
                    # residue holds the machine where it is: a guest that could not be stopped
                    self._stuck = True
                    return

    # --- the ends ----------------------------------------------------------------------------------

    def leftovers(self) -> list[Row]:
        """Effects that are not undone, newest first."""
        left = [e for e in self.effects.values() if e["state"] != UNDONE]
        return sorted(left, key=lambda e: -e["ordinal"])

    def sweep(self, *, again: bool = False) -> None:
        """Undo what TaskFlow's revert passed over; with `again`, what is residue as well."""
        for effect in self.leftovers():
            if effect["state"] == RESIDUE and not again:
                continue
            step = self.steps.get(effect["step"])
            if step is None or step.kind is None:
                self._stage_effect(
                    effect,
                    state=RESIDUE,
                    reason=f"this version's flow has no step {effect['step']!r} to undo it",
                )
                continue
            self._tell(step.name, tf_states.REVERTING, stamp(self.clock.now()))
            self.undo(step, effect)
            self.commit()
            self._tell(step.name, tf_states.REVERTED, stamp(self.clock.now()))

    def complete(self, step: str, triggers: Sequence[str]) -> None:
        """The last commit of a build that succeeded, still inside the undo scope.

        Raises StopBuild when a stop was asked for: it wins.
        """
        if self.status == "complete":
            return
        before = (self.states, self.version)
        with self._lock:
            history, moved = list(self._new_history), self._moved
            self.move(triggers, step)
            fault, errors = self.fault, self.errors
            status, finished = self.status, self.finished_at
            if self.fault is not None:  # an earlier attempt's: the build has none after all
                self.errors = [self.fault, *self.errors]
                self.fault = None
            if self.states is None and self.fetch_results is not None:
                self.results = self.fetch_results()
            self.set_status("complete")
            try:
                self.commit(unless_stopped=True)
            except StateConflict:
                self.states, self.version = before
                self._new_history, self._moved = history, moved
                self.fault, self.errors = fault, errors
                self.status, self.finished_at = status, finished
                stops = self.store.stops([self.id])
                self.note_stop(stops[self.id][0] or "cancelled")
                raise StopBuild(self.stop or "cancelled") from None
            except BaseException:
                self.status = status
                raise

    def end_rollback(self) -> None:
        """Stage and commit how a rollback ended: nothing left, or residue."""
        self._begin_going_back()
        self.sweep()
        left = self.leftovers()
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
        self.commit()


_TIMES = ("started_at", "finished_at", "revert_started_at", "revert_finished_at")
_NO_TIMES: Row = dict.fromkeys(_TIMES)
_TIME_OF = {
    tf_states.RUNNING: "started_at",
    tf_states.SUCCESS: "finished_at",
    tf_states.FAILURE: "finished_at",
    tf_states.REVERTING: "revert_started_at",
    tf_states.REVERTED: "revert_finished_at",
    tf_states.REVERT_FAILURE: "revert_finished_at",
}
_KINDS = {"TaskDetail": "TASK_DETAIL", "RetryDetail": "RETRY_DETAIL"}


def _may_pass(error: BaseException) -> bool:
    """Whether an undo is worth trying again: not when the world would answer no again."""
    return isinstance(error, Exception) and not isinstance(error, Refused)


def _dump(value: Any) -> str | None:
    return None if value is None else json.dumps(value)


def _effect_row(effect: Row) -> Row:
    return {**effect, "facts": json.dumps(effect["facts"], sort_keys=True)}


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
