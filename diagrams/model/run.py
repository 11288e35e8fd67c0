"""A build's own history, laid over a picture. Made from the plain dict that `show --json` prints.

Rules: nothing is guessed. What the dict does not say is None here and is not drawn; a dict that
cannot be a build is refused with one line that says which field is wrong.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

from buildflow.errors import BadInput
from buildflow.states.machine import label as state_label


class Outcome(StrEnum):
    """How far one step has come, in the order of a life that ends badly."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"  # and its undo has not begun
    UNDOING = "undoing"
    UNDONE = "undone"
    RESIDUE = "residue"  # what it made could not be removed, or may not have been


_OUTCOMES = {
    "PENDING": Outcome.PENDING,
    "RUNNING": Outcome.RUNNING,
    "SUCCESS": Outcome.DONE,
    "FAILURE": Outcome.FAILED,
    "REVERTING": Outcome.UNDOING,
    "REVERTED": Outcome.UNDONE,
    "REVERT_FAILURE": Outcome.RESIDUE,
    "IGNORE": Outcome.PENDING,
}

OVER = ("complete", "rolled_back", "residue")
"""The statuses of a build at which nothing more happens by itself."""

_ROLLED_BACK = ("rolled_back", "residue")


@dataclass(frozen=True, slots=True)
class StepRun:
    """One attempt at one step; `failed` stays true when it has been undone since.

    `undo_failed` says that its undo failed at first; `undone_at` is then when it succeeded.
    Times are seconds since the build began.
    """

    name: str
    outcome: Outcome
    failed: bool = False
    started: float | None = None
    finished: float | None = None
    seconds: float | None = None
    undone_at: float | None = None
    undo_seconds: float | None = None
    undo_failed: bool = False
    error: str = ""
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing that a step made outside: `state` is intent, done, undone or residue."""

    key: str
    step: str
    kind: str
    state: str
    external_id: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """One transition that was committed, and the three states after it."""

    at: float | None
    vm_state: str
    task_state: str
    power_state: str
    trigger: str = ""
    step: str = ""

    def state(self, machine: str) -> str:
        """The state of `machine` (vm, task, power or joint) after this line."""
        if machine == "joint":
            return joint_key(self.vm_state, self.task_state)
        return {"vm": self.vm_state, "task": self.task_state, "power": self.power_state}[machine]


def joint_key(vm_state: str, task_state: str) -> str:
    """The key of a box in the joint chart."""
    return f"{vm_state} / {task_state}"


@dataclass(frozen=True)
class Run:
    """One build as it is known now; `now` is the latest moment that it tells of.

    `fault` is its first error, `errors` are those that came after it, as when an undo failed.
    """

    id: str
    name: str
    status: str
    vm_state: str
    task_state: str
    power_state: str
    steps: tuple[StepRun, ...] = ()
    effects: tuple[Effect, ...] = ()
    history: tuple[HistoryLine, ...] = ()
    fault_type: str = ""
    fault_message: str = ""
    fault_step: str = ""
    errors: tuple[str, ...] = ()
    host: str = ""
    attempt: int = 1
    origin: str = ""
    now: float = 0.0

    @property
    def over(self) -> bool:
        """Whether nothing more happens to this build by itself."""
        return self.status in OVER

    @cached_property
    def latest(self) -> dict[str, StepRun]:
        """Each step's last attempt, by name."""
        found: dict[str, StepRun] = {}
        for step in self.steps:
            if step.name not in found or step.attempt >= found[step.name].attempt:
                found[step.name] = step
        return found

    @cached_property
    def residue(self) -> dict[str, tuple[Effect, ...]]:
        """What each step left behind, by the step's name."""
        found: dict[str, list[Effect]] = {}
        for effect in self.effects:
            if effect.state == "residue":
                found.setdefault(effect.step, []).append(effect)
        return {step: tuple(effects) for step, effects in found.items()}

    @classmethod
    def parse(cls, build: Mapping[str, Any], now: datetime | None = None) -> Run:
        """Read a build's dict; `now` is how far a build that still goes on has come.

        Raises BadInput naming the field that is not as it should be.
        """
        run = _parse(build)
        if now is None or run.over or not run.origin:
            return run
        since = (now - datetime.fromisoformat(run.origin)).total_seconds()
        return dataclasses.replace(run, now=max(run.now, since))


def _parse(build: Mapping[str, Any]) -> Run:
    if not isinstance(build, Mapping) or not isinstance(build.get("steps"), list):
        raise BadInput("not a build: expected what `buildflow show ID --json` prints")
    steps = _rows(build, "steps")
    history = _rows(build, "history")
    effects = _rows(build, "effects")
    times = [
        moment
        for rows, fields in (
            (steps, ("started_at", "finished_at", "reverted_at")),
            (_rows(build, "delete_steps"), ("started_at", "finished_at")),
            (history, ("at",)),
            ((build,), ("created_at",)),
        )
        for row in rows
        for field in fields
        if (moment := _time(row, field)) is not None
    ]
    origin = min(times, default=None)
    fault = build.get("fault") or {}
    if not isinstance(fault, Mapping):
        raise BadInput("not a build: `fault` is neither an object nor null")
    fault_step = _text(fault, "step")
    removals = {_text(row, "name"): row for row in _rows(build, "delete_steps")}
    ledger = _ledger(effects) if _text(build, "status") in _ROLLED_BACK else {}
    left = {_text(row, "step") for row in effects if _text(row, "state") == "residue"}
    last = {_text(row, "name"): int(_number(row, "attempt") or 1) for row in steps}
    return Run(
        id=_text(build, "id"),
        name=_text(build, "name"),
        status=_text(build, "status"),
        vm_state=_text(build, "vm_state"),
        task_state=_state(build, "task_state"),
        power_state=_state(build, "power_state"),
        steps=tuple(
            _step(
                _with_ledger(_with_removal(row, removals), ledger),
                origin,
                last[_text(row, "name")],
                fault_step,
                left,
            )
            for row in steps
        ),
        effects=tuple(
            Effect(
                key=_text(row, "key"),
                step=_text(row, "step"),
                kind=_text(row, "kind"),
                state=_text(row, "state"),
                external_id=_text(row, "external_id"),
                reason=_text(row, "reason"),
            )
            for row in effects
        ),
        history=tuple(
            HistoryLine(
                at=_since(row, "at", origin),
                vm_state=_text(row, "vm_state"),
                task_state=_state(row, "task_state"),
                power_state=_state(row, "power_state"),
                trigger=_text(row, "trigger"),
                step=_text(row, "step"),
            )
            for row in history
        ),
        fault_type=_text(fault, "type"),
        fault_message=_text(fault, "message"),
        fault_step=fault_step,
        errors=tuple(_told(error) for error in _rows(build, "errors")),
        host=_text(build, "host"),
        attempt=int(_number(build, "attempt") or 1),
        origin=origin.isoformat(timespec="microseconds").replace("+00:00", "Z") if origin else "",
        now=(max(times) - origin).total_seconds() if origin else 0.0,
    )


def _with_removal(
    row: Mapping[str, Any], removals: Mapping[str, Mapping[str, Any]]
) -> Mapping[str, Any]:
    """A step whose effect the delete flow removed was undone, only later and by another step."""
    removal = removals.get(f"remove {_text(row, 'name')}")
    states = {"SUCCESS": "REVERTED", "RUNNING": "REVERTING"}
    if removal is None or row.get("state") != "SUCCESS" or removal.get("state") not in states:
        return row
    return {
        **row,
        "state": states[str(removal["state"])],
        "reverted_at": removal.get("finished_at"),
        "revert_seconds": removal.get("seconds"),
    }


def _ledger(effects: list[Mapping[str, Any]]) -> dict[str, str]:
    """When all that a step had made was gone, by the step's name; steps with more are left out."""
    gone: dict[str, str] = {}
    for row in effects:
        step = _text(row, "step")
        gone[step] = max(gone.get(step, ""), _text(row, "changed_at"))
    for row in effects:
        if _text(row, "state") != "undone":
            gone.pop(_text(row, "step"), None)
    return gone


def _with_ledger(row: Mapping[str, Any], ledger: Mapping[str, str]) -> Mapping[str, Any]:
    """A step of a rollback that TaskFlow did not finish: the ledger says what was undone after it.

    TaskFlow stops at an undo that fails; the engine then goes on by the ledger of effects alone,
    and tries again what failed.
    """
    at = ledger.get(_text(row, "name"))
    if at is None or row.get("state") not in ("SUCCESS", "FAILURE", "REVERT_FAILURE"):
        return row
    tried = row["state"] == "REVERT_FAILURE"
    later = {"state": "REVERTED", "reverted_at": at or None, "revert_seconds": None}
    return {**row, **later, "undo_failed": tried}


def _step(
    row: Mapping[str, Any], origin: datetime | None, last: int, fault_step: str, left: set[str]
) -> StepRun:
    stored = _text(row, "state")
    if stored not in _OUTCOMES:
        known = ", ".join(_OUTCOMES)
        raise BadInput(f"not a build: step state {stored!r} is none of {known}")
    name, error = _text(row, "name"), _text(row, "error")
    attempt = int(_number(row, "attempt") or 1)
    outcome = _OUTCOMES[stored]
    ended_badly = outcome in (Outcome.FAILED, Outcome.UNDOING, Outcome.UNDONE, Outcome.RESIDUE)
    if attempt == last and name in left:
        outcome = Outcome.RESIDUE
    undo_failed = stored == "REVERT_FAILURE" or bool(row.get("undo_failed"))
    # where an undo failed, the error is the undo's
    own_error = bool(error) and not undo_failed
    return StepRun(
        name=name,
        outcome=outcome,
        failed=ended_badly
        and (stored == "FAILURE" or own_error or (name == fault_step and attempt == last)),
        started=_since(row, "started_at", origin),
        finished=_since(row, "finished_at", origin),
        seconds=_number(row, "seconds"),
        undone_at=_since(row, "reverted_at", origin),
        undo_seconds=_number(row, "revert_seconds"),
        undo_failed=undo_failed,
        error=error,
        attempt=attempt,
    )


def _rows(build: Mapping[str, Any], field: str) -> list[Mapping[str, Any]]:
    rows = build.get(field) or []
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise BadInput(f"not a build: `{field}` is not a list of objects")
    return rows


def _text(row: Mapping[str, Any], field: str) -> str:
    value = row.get(field)
    if isinstance(value, Mapping):  # an error may be stored as {type, message}
        return ": ".join(str(value[key]) for key in ("type", "message") if value.get(key))
    return "" if value is None else str(value)


def _told(error: Mapping[str, Any]) -> str:
    """A later error, as `type in step: message`."""
    where = f" in {_text(error, 'step')}" if error.get("step") else ""
    return f"{_text(error, 'type')}{where}: {_text(error, 'message')}"


def _state(row: Mapping[str, Any], field: str) -> str:
    value = row.get(field)
    return value if isinstance(value, str) else state_label(value)


def _number(row: Mapping[str, Any], field: str) -> float | None:
    value = row.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadInput(f"not a build: `{field}` is {value!r}, not a number")
    return float(value)


def _time(row: Mapping[str, Any], field: str) -> datetime | None:
    value = row.get(field)
    if value is None or value == "":
        return None
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise BadInput(f"not a build: `{field}` is {value!r}, not an ISO 8601 time") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _since(row: Mapping[str, Any], field: str, origin: datetime | None) -> float | None:
    moment = _time(row, field)
    if moment is None or origin is None:
        return None
    return (moment - origin).total_seconds()
