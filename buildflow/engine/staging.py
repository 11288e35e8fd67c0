"""What one step boundary of a build changes, gathered in memory and made durable by one commit.

Rules:
* TaskFlow's records, the state move with its history line, effects and the build's row are staged
  here and become durable together or not at all, fenced by the owner's epoch and the sequence.
* Whoever stages or encodes holds the lock: steps that overlap commit while TaskFlow's thread
  changes the records of others, and a half-changed record must never be written.
* A commit that fails ends the run (Halt): what is in memory is then no longer what is stored.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from taskflow import states as tf_states

from buildflow.engine.clock import Clock, stamp
from buildflow.engine.journal import Unit
from buildflow.engine.persistence import encode_detail
from buildflow.engine.store import ENDED, Row, Store
from buildflow.errors import BuildflowError, StaleOwner, StateConflict, StoreError, fault_dict
from buildflow.states import InstanceStates, apply, power

if TYPE_CHECKING:
    from buildflow.engine.step import Step

# the states of an effect
INTENT, DONE, UNDONE, RESIDUE = "intent", "done", "undone", "residue"

# for how long after a commit an effect may begin without asking again whose the build is: a process
# that was stopped (SIGSTOP, a laptop's lid) between the two finds the clock far ahead. Who takes a
# build from an owner that seems to live waits for as long before it makes anything (carry.py)
FENCE_GOOD_FOR_S = 0.25


class Halt(BaseException):
    """Ends a run at once: store or ownership is lost and its build is left as by a crash, or it
    has been given back (engine/run.py: give_back).
    """

    def __init__(self, error: BuildflowError) -> None:
        self.error = error
        super().__init__(str(error))


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


class Staging:
    """See the module; engine/run.py builds on it."""

    def __init__(
        self,
        store: Store,
        row: Row,
        flow_uuid: str,
        *,
        clock: Clock,
        effects: Sequence[Row] = (),
        atom_rows: Sequence[Row] = (),
        listener: Listener | None = None,
    ) -> None:
        self.store, self.row, self.clock, self.listener = store, row, clock, listener
        self.flow_uuid, self.atom_rows = flow_uuid, atom_rows
        self.id: str = row["id"]
        self.epoch: int = row["epoch"]
        self.seq: int = row["seq"]
        self.status: str = row["status"]
        self.attempt: int = row["attempt"]
        self.host: str | None = row["host"]
        self.fault: Row | None = row["fault"]
        self.errors: list[Row] = list(row["errors"] or ())
        self.results: Any = row["results"]
        self.finished_at: str | None = row["finished_at"]
        self.live_name: str | None = row["live_name"]
        self.stored_stop: str | None = row["stop"]
        self.states: InstanceStates | None = None
        self.version = 0
        if row["vm_state"] is not None:
            self.states = InstanceStates(row["vm_state"], row["task_state"], row["power_state"])
            self.version = row["version"]
        self.network_info = row.get("network_info")
        self.block_device_info = row.get("block_device_info")
        self.effects: dict[str, Row] = {each["key"]: dict(each) for each in effects}
        self.steps: dict[str, Step] = {}
        # by key, the steps whose effect may be there without being recorded
        self.made: dict[str, Step] = {}
        self.rescheduling = False  # an attempt is being undone, and another will follow
        self.halted: BuildflowError | None = None
        self.given_back = False  # it waits for whoever takes it next

        self.lock = threading.RLock()
        self._fenced_at = clock.monotonic()
        self._ending_step: str | None = None
        self._times: dict[str, list[str | None]] = {
            each["name"]: [each[name] for name in _TIMES] for each in atom_rows
        }
        self._atom_states: dict[str, str] = {each["name"]: each["state"] for each in atom_rows}
        self._dirty_atoms: dict[str, Any] = {}
        self._dirty_flow: Any = None
        self._dirty_effects: dict[str, Row] = {}
        self._new_history: list[Row] = []
        self._dirty_build = self._dirty_info = self._moved = False

    # --- staging --------------------------------------------------------------------------------

    def record_atom(self, detail: Any) -> None:
        """TaskFlow changed an atom (engine/persistence.py: Recorder)."""
        name, state = detail.name, detail.state
        with self.lock:
            self._dirty_atoms[name] = detail
            if self._atom_states.get(name) == state:
                return
            self._atom_states[name] = state
            now = stamp(self.clock.now())
            times = self._times.get(name)
            if times is None:
                times = self._times[name] = [None] * len(_TIMES)
            column = _TIME_OF.get(state)
            if column is not None:
                times[column] = now
                if column == 0:  # begun again: what came of it before is history
                    times[1:] = [None] * (len(_TIMES) - 1)
        if self.listener is not None:
            self._tell(name, state, now)

    def record_flow(self, detail: Any) -> None:
        """TaskFlow changed the flow's detail: it goes along with the next boundary."""
        with self.lock:
            self._dirty_flow = detail

    def _tell(self, step: str, state: str, at: str) -> None:
        assert self.listener is not None
        found = self.steps.get(step)
        label = found.label if found is not None else step
        message = None
        if state == tf_states.FAILURE and self.fault is not None:
            message = (self.errors[-1] if self.errors else self.fault)["message"]
        if state == tf_states.REVERTED:
            left = [e for e in self.effects.values() if e["step"] == step and e["state"] == RESIDUE]
            if left:  # to TaskFlow it is reverted: an undo never raises
                state, message = tf_states.REVERT_FAILURE, left[0]["reason"]
        self.listener(StepEvent(self.id, step, label, state, at, self.status, message))

    def move(self, triggers: Sequence[str], step: str | None) -> None:
        """Stage a state move; InvalidTransition changes nothing. A flow without states has none."""
        if self.states is None or not triggers:
            return
        with self.lock:
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
        with self.lock:
            if network_info is not None:
                self.network_info = network_info
            if block_device_info is not None:
                self.block_device_info = block_device_info
            self._dirty_info = True

    def set_status(self, status: str) -> None:
        """Stage the build's status."""
        with self.lock:
            self.status = status
            self._dirty_build = True
            if status in ENDED:
                self.finished_at = stamp(self.clock.now())
            if status == "rolled_back":
                self.live_name = None

    def set_attempt(self, attempt: int, host: str | None) -> None:
        """Stage which try this is, and on which host."""
        with self.lock:
            self.attempt, self.host = attempt, host
            self.rescheduling = False
            self._dirty_build = True

    def blame(self, error: BaseException, step: str) -> None:
        """Stage `error`: the first is the build's fault, later ones stand beside it."""
        with self.lock:
            fault = fault_dict(error, step=step)
            if self.attempt > 1:
                fault["attempt"] = self.attempt
            if self.host is not None:
                fault["host"] = self.host
            if self.fault is None:
                self.fault = fault
            else:
                self.errors.append(fault)
            self._dirty_build = True

    def stage_effect(self, effect: Row, **changes: Any) -> None:
        """Stage a change of the ledger."""
        with self.lock:
            effect.update(changes, changed_at=stamp(self.clock.now()))
            self.effects[effect["key"]] = effect
            self._dirty_effects[effect["key"]] = effect

    @contextmanager
    def provisionally(self) -> Iterator[None]:
        """What is staged inside is taken back when it can't be committed after all."""
        kept = {name: getattr(self, name) for name in _PROVISIONAL}
        history, errors = list(self._new_history), list(self.errors)
        try:
            yield
        except Exception:
            for name, value in kept.items():
                setattr(self, name, value)
            self._new_history, self.errors = history, errors
            self._ending_step = None
            raise

    # --- the commit -----------------------------------------------------------------------------

    def commit(self, *, unless_stopped: bool = False, fence: bool = False) -> None:
        """Make everything staged durable, at once or not at all.

        Raises Halt when the store fails or another owner has the build, StateConflict when
        `unless_stopped` and a stop was asked for that this process has not heard of. With nothing
        staged it writes nothing, unless `fence` wants to know whose the build is.
        """
        with self.lock:
            if self.halted is not None:
                raise Halt(self.halted)
            unit = self._unit()
            if unit is None:
                if not fence:
                    return
                unit = Unit(self.id, self.epoch, self.seq + 1)
            if unless_stopped:
                unit.unless_stopped, unit.known_stop = True, self.stored_stop
            began = self.clock.monotonic()  # whoever sleeps in here has slept since the fence
            try:
                stop = self.store.journal.commit(unit)
            except StateConflict:
                if unless_stopped:
                    raise
                raise self.halt(
                    StaleOwner(f"build {self.id}: its instance was changed by another")
                ) from None
            except (StoreError, StaleOwner) as error:
                raise self.halt(error) from error
            self._fenced_at = began
            self.seq = unit.seq
            if self._moved:
                self.version += 1
            for key, effect in self._dirty_effects.items():
                if effect["state"] != INTENT:
                    self.made.pop(key, None)
            self._clear()
            self.stored_stop = stop
        if stop is not None:
            self.note_stop(stop)

    def halt(self, error: BuildflowError) -> Halt:
        """The end of this run: whatever else it would write is refused from here on."""
        self.halted = self.halted or error
        return Halt(self.halted)

    def before_effect(self) -> None:
        """Nothing is made or removed on the word of a fence that is not fresh."""
        if self.halted is not None:
            raise Halt(self.halted)
        if self.clock.monotonic() - self._fenced_at > FENCE_GOOD_FOR_S:
            self.commit(fence=True)

    def note_stop(self, reason: str, detail: str = "") -> None:
        """Somebody wants this build to stop; see engine/run.py."""
        raise NotImplementedError

    def _unit(self) -> Unit | None:
        s = self.store.statements
        many: list[tuple[Any, list[Mapping[str, Any]]]] = []
        if self._dirty_build:
            many.append((s.build_status, [self._build_row()]))
        if self._new_history:
            many.append((s.history, list(self._new_history)))
        if self._dirty_effects:
            many.append((s.effect, [_effect_row(e) for e in self._dirty_effects.values()]))
        if self._dirty_info:
            info = {
                "b_id": self.id,
                "network_info": _dump(self.network_info),
                "block_device_info": _dump(self.block_device_info),
            }
            many.append((s.instance_info, [info]))
        if self._dirty_flow is not None:
            flow = self._dirty_flow
            record = {"uuid": flow.uuid, "build": self.id, "name": flow.name, "state": flow.state}
            many.append((s.flow, [{**record, "meta": _dump(flow.meta)}]))
        if self._dirty_atoms:
            many.append((s.atom, [self._atom_row(d) for d in self._dirty_atoms.values()]))
        if not many and not self._moved:
            return None
        unit = Unit(self.id, self.epoch, self.seq + 1)
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
        return {
            "b_id": self.id,
            "status": self.status,
            "live_name": self.live_name,
            "owner": None if self.given_back or self.status in ENDED else self.row["owner"],
            "attempt": self.attempt,
            "host": self.host,
            "fault": _dump(self.fault),
            "errors": _dump(self.errors or None),
            "results": _dump(self.results),
            "finished_at": self.finished_at,
        }

    def _atom_row(self, detail: Any) -> Row:
        row = {
            "flow": self.flow_uuid,
            "name": detail.name,
            "uuid": detail.uuid,
            "kind": _KINDS[type(detail).__name__],
            "state": detail.state,
            "intention": detail.intention,
            "detail": json.dumps(encode_detail(detail)),
            **dict(zip(_TIMES, self._times.get(detail.name, _NO_TIMES), strict=True)),
        }
        if detail.name == self._ending_step:
            # its own commit is the last one: nothing after it could say that it went well
            row["state"], row["finished_at"] = tf_states.SUCCESS, self.finished_at
        return row


_TIMES = ("started_at", "finished_at", "revert_started_at", "revert_finished_at")
_NO_TIMES: tuple[str | None, ...] = (None,) * len(_TIMES)
# TaskFlow's states to the column of _TIMES that says when
_TIME_OF = {
    tf_states.RUNNING: 0,
    tf_states.SUCCESS: 1,
    tf_states.FAILURE: 1,
    tf_states.REVERTING: 2,
    tf_states.REVERTED: 3,
    tf_states.REVERT_FAILURE: 3,
}
_KINDS = {"TaskDetail": "TASK_DETAIL", "RetryDetail": "RETRY_DETAIL"}
_PROVISIONAL = (
    "states", "status", "finished_at", "live_name", "fault", "results", "host", "given_back",
    "_moved",
)  # fmt: skip


def _dump(value: Any) -> str | None:
    return None if value is None else json.dumps(value)


def _effect_row(effect: Row) -> Row:
    return {**effect, "facts": json.dumps(effect["facts"], sort_keys=True)}
