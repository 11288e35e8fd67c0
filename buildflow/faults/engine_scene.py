"""A scene in which the engine runs a flow of steps: a store in memory, and time that is free."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import math
import sys
import threading
import zlib
from abc import abstractmethod
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from buildflow import errors
from buildflow.config import Settings
from buildflow.engine.clock import VirtualClock
from buildflow.engine.core import Engine
from buildflow.engine.definitions import FlowFactory, dotted_name
from buildflow.engine.guard import Intention
from buildflow.engine.store import ENDED, Row
from buildflow.faults.injector import Injector
from buildflow.faults.kinds import KINDS, Act, Kind
from buildflow.faults.memory_store import MemoryStore
from buildflow.faults.records import Records, edge_names
from buildflow.faults.run_memory import memory_of
from buildflow.faults.scene import Checkpoint, Inventory, Outcome, Scene
from buildflow.faults.spare_flows import SpareFlows
from buildflow.faults.visit import At, Visit

BUILD_ID = "00000000-0000-4000-8000-00000000b11d"
_ANOTHER = "00000000-0000-4000-8000-00000000a000"  # an owner that is seen no more
# what a step may fail with; other errors are mistakes in it, or in the engine
_FORESEEN = {
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type)
    and issubclass(kind, errors.BuildflowError)
    and kind not in (errors.DefinitionError, errors.InvalidTransition, errors.StateConflict)
}
_TEXTS = tuple(kind.text for kind in KINDS if kind.text)
# flows made and compiled beforehand: each process of a scenario takes one that nobody has used
SPARE_FLOWS = 24
# they tell each state that is passed, by name only
_CHATTY = ("taskflow", "transitions")
_STATES: Final[dict[Outcome, set[tuple[str, str | None]]]] = {
    Outcome.COMPLETE: {("active", None)},
    Outcome.ROLLED_BACK: {("error", None), ("deleted", None)},
    Outcome.RESIDUE: {("error", None), ("building", "deleting"), ("active", "deleting"),
                      ("error", "deleting")},
    Outcome.UNFINISHED: set(),
}  # fmt: skip
# what is undone in these is as if it had never been
_BACK: Final = frozenset({"rolling_back", "rolled_back", "residue"})
_ENDED = {"complete": Outcome.COMPLETE, "rolled_back": Outcome.ROLLED_BACK,
          "residue": Outcome.RESIDUE}  # fmt: skip


class FreeClock(VirtualClock):
    """A virtual clock that can be put back. It ticks in 1/1024 s, whose sums are exact: two runs
    that wait alike must find the same at each deadline, whatever time it was when they began.
    """

    def sleep(self, seconds: float, wake: threading.Event | None = None) -> None:
        """See Clock."""
        super().sleep(math.ceil(max(seconds, 0.0) * 1024) / 1024)

    def copy(self) -> FreeClock:
        """Another one, at the same instant."""
        new = FreeClock(self._start)
        new.sleep(self._elapsed)
        return new


class _LogReader(logging.Handler):
    """Looks for secrets in what is logged."""

    def __init__(self, marks: tuple[str, ...], leaks: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self._marks, self._leaks = marks, leaks

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        text = record.getMessage()
        if any(mark in text for mark in self._marks):
            self._leaks.append("secret: a password was logged")


class _OutputReader(io.TextIOBase):
    """Looks for secrets in what is printed, and prints the rest."""

    def __init__(self, stream: Any, marks: tuple[str, ...], leaks: list[str]) -> None:
        self._stream, self._marks, self._leaks = stream, marks, leaks

    def write(self, text: str) -> int:
        """See io."""
        if any(mark in text for mark in self._marks):
            self._leaks.append("secret: a password was printed")
            return len(text)
        return int(self._stream.write(text))

    def flush(self) -> None:
        """See io."""
        self._stream.flush()


@dataclass(frozen=True, slots=True)
class Laid:
    """A scene at an instant at which no process is at work; its rows compressed."""

    clock: FreeClock
    rows: bytes
    records: Records
    world: Any


@dataclass(frozen=True, slots=True)
class _Left:
    """A scene whose process is gone. `extra` is the subclass's own."""

    laid: Laid
    stops: frozenset[str]
    overtaken: bool
    in_flight: bool
    leaks: tuple[str, ...]
    down: frozenset[str]
    extra: Any


class EngineScene(Scene):
    """Subclasses say which flow runs, in which world."""

    instance: ClassVar[bool] = False
    """Whether the flow moves vm, task and power states."""

    copies_world: ClassVar[bool] = False
    """Whether `copy_world` gives the world as it is, not as it was laid out."""

    def __init__(self, factory: FlowFactory, inputs: Row, settings: Settings | None = None) -> None:
        self.factory, self.inputs = factory, inputs
        self.settings = settings or Settings(home=Path("/nonexistent"), boot_grace_s=0.2)

    # --- what a subclass gives ---------------------------------------------------

    @abstractmethod
    def make_world(self) -> Any:
        """The world that the steps act on, made anew."""

    @abstractmethod
    def armed_world(self, injector: Injector) -> Any:
        """What the engine is given: the world, seen through the injector."""

    def world_hash(self) -> int:
        """A number that equal worlds share."""
        return hash(repr(sorted(self.inventory().items())))

    def secret_marks(self) -> tuple[str, ...]:
        """Texts that must be seen nowhere."""
        return ()

    def make_engine(self, world: Any) -> Engine:
        """The engine of one process."""
        return Engine(
            self.settings, world, store=self.store, clock=self.clock,
            points=self.injector.hooks(), parallel=False, watch_s=None,
        )  # fmt: skip

    def prepare(self) -> None:
        """What comes before the run that is explored, free of faults."""

    # --- the scene ---------------------------------------------------

    def lay_out(self) -> None:
        """See Scene. The first time makes everything; later ones put it back to that."""
        if self._laid is None:
            self._lay_first()
        assert self._laid is not None
        self._put_back(self._laid)
        self.records.may_reopen = self.intention is not Intention.RUN
        self.leaks: list[str] = []
        self.stops: frozenset[str] = frozenset()
        self.stale = self.overtaken = self.in_flight = False
        self.injector = Injector(self)
        self.laid_out()

    _laid: Laid | None = None
    clock: FreeClock

    def _put_back(self, laid: Laid) -> None:
        self.clock = laid.clock.copy()
        self.store.restore(zlib.decompress(laid.rows))
        self.records = laid.records.copy()
        self.world = self.copy_world(laid.world, self.clock)
        self.definitions.all_new()

    def checkpoint(self) -> Checkpoint | None:
        """See Scene."""
        if not self.copies_world:
            return None
        left = _Left(
            self.as_it_is(), self.stops, self.overtaken, self.in_flight, tuple(self.leaks),
            frozenset(self.injector.down), self.extra_checkpoint(),
        )  # fmt: skip
        return functools.partial(self._go_back_to, left)

    def as_it_is(self) -> Laid:
        """The scene at this instant."""
        clock = self.clock.copy()  # of its own: this one goes on
        rows = zlib.compress(self.store.rows(), 1)
        return Laid(clock, rows, self.records.copy(), self.copy_world(self.world, clock))

    def _go_back_to(self, left: _Left, injector: Injector) -> None:
        self._put_back(left.laid)
        self.stops, self.overtaken, self.in_flight = left.stops, left.overtaken, left.in_flight
        self.leaks, self.stale = list(left.leaks), False
        injector.down = set(left.down)
        self.injector = injector
        self.laid_out()
        self.restore_extra(left.extra)

    def extra_checkpoint(self) -> Any:
        """What else a subclass has to remember of a run that it is in; must not change later."""
        return None

    def restore_extra(self, extra: Any) -> None:
        """Remember that again."""

    def _lay_first(self) -> None:
        self.clock = FreeClock()
        self.store = MemoryStore()
        self.records = Records(self.store.statements, self.secret_marks())
        self.world = self.make_world()
        dotted = dotted_name(self.factory)
        self.definitions = SpareFlows(dotted, self.inputs, SPARE_FLOWS)
        self.injector = Injector(self)
        self.injector.disarmed = True
        self.leaks = []
        self.stops = frozenset()
        self.stale = self.overtaken = self.in_flight = False
        self.laid_out()
        self.engine = self._open()
        self.store.journal.on_commit = self._on_commit
        row = self.engine.accept(
            self.factory, self.inputs, name="explored", build_id=BUILD_ID, instance=self.instance
        )
        self.build_id = row["id"]
        self.prepare()
        # not `as_it_is`: the worlds of some flows cannot be copied
        rows = zlib.compress(self.store.rows(), 1)
        self._laid = Laid(self.clock, rows, self.records, self.world)

    def copy_world(self, world: Any, clock: FreeClock) -> Any:
        """The world as it was laid out, made anew, whose time is that of `clock`; here made from
        scratch.
        """
        return self.make_world()

    def laid_out(self) -> None:
        """Forget what belonged to the run before."""

    def arm(self, injector: Injector) -> None:
        """See Scene. Takes the place of the injector of before."""
        self.injector = injector
        self.engine = self._open()

    def _open(self) -> Engine:
        engine = self.make_engine(self.armed_world(self.injector))
        engine.definitions = self.definitions
        return engine

    def _on_commit(self, when: str, unit: Any) -> None:
        if when == "before":
            self.injector.at_commit(when)
        else:
            self.records.committed(unit)
            self.injector.at_commit(when)

    def start(self) -> None:
        """See Scene."""
        self._carry_out()

    def resume(self) -> None:
        """See Scene."""
        # a process that claims from one that lives waits for what that one may have begun
        self.injector.new_process("" if self.records.owner == _ANOTHER else "from the living")
        self.stale = False
        self.engine = self._open()
        self._carry_out()

    def _carry_out(self) -> None:
        # whoever had it before was this process too, which lives: that it is dead is our word
        self._watched(lambda: self.engine.carry_out(self.build_id, self.intention, take_over=True))

    intention: Intention = Intention.RUN

    def _watched(self, work: Any) -> None:
        marks = self.secret_marks()
        if not marks:
            work()
            return
        root, out, err = logging.getLogger(), sys.stdout, sys.stderr
        handler = _LogReader(marks, self.leaks)
        root.addHandler(handler)
        sys.stdout = _OutputReader(out, marks, self.leaks)
        sys.stderr = _OutputReader(err, marks, self.leaks)
        try:
            with self.telling_all():
                work()
        finally:
            sys.stdout, sys.stderr = out, err
            root.removeHandler(handler)

    @contextlib.contextmanager
    def telling_all(self) -> Iterator[None]:
        """See Scene: a logger's level costs a look at every other logger, so that it is set once
        for many runs.
        """
        if self._tells_all or not self.secret_marks():
            yield
            return
        levels = {name: logging.getLogger(name).level for name in ("", *_CHATTY)}
        for name in levels:
            logging.getLogger(name).setLevel(logging.WARNING if name else logging.DEBUG)
        self._tells_all = True
        try:
            yield
        finally:
            self._tells_all = False
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)

    _tells_all = False

    def outcome(self) -> Outcome:
        """See Scene."""
        return _ENDED.get(self.records.status, Outcome.UNFINISHED)

    def run_of(self) -> Any:
        """The engine's Run while there is one."""
        return self.engine.running(self.build_id)

    def position(self, visit: Visit | None) -> Hashable | None:
        """See Scene: the run's memory, the committed records, the world, the place in the flow."""
        run = self.run_of()
        injector = self.injector
        settled = self._settled() if run is None else run.going_back and not run.rescheduling
        memory: Hashable = None
        if run is not None:
            memory = self.stale, memory_of(run, settled, self.clock.monotonic())
        place: Hashable = None
        if visit is not None:
            place = (
                visit.at, visit.name, injector.activity, injector.inside, injector.recent,
                round(self.clock.monotonic() - injector.since, 3),
            )  # fmt: skip
        return hash((place, memory, self._kept(settled)))

    def left_behind(self) -> Hashable:
        """See Scene: the records and the world."""
        return self._kept(self._settled())

    def _settled(self) -> bool:
        return self.records.status in _BACK

    def _kept(self, settled: bool) -> Hashable:
        return hash(
            (self.records.hash(settled), self.world_hash(), frozenset(self.injector.down),
             self.records.owner == _ANOTHER, self.stops, self.extra_position())
        )  # fmt: skip

    def extra_position(self) -> Hashable:
        """What else of the subclass makes a difference."""
        return None

    def act(self, kind: Kind, visit: Visit) -> bool:
        """See Scene: requests to stop, and other processes."""
        if kind.act is Act.TAKE:
            return self._taken_over(kind, visit)
        if kind.act is not Act.STOP:
            return False
        reason = "deleted" if kind.name == "delete" else "cancelled"
        if self.stale and self.records.status in ENDED:
            # nobody is asked to stop: whoever deletes what has ended does it all (Engine.delete)
            if reason == "deleted":
                self.records.may_reopen = True
                self.others_turn(Intention.DELETE)
                self.stops |= {"removed"}
            return reason == "deleted"
        accepted = self.store.request_stop(self.build_id, reason)
        if accepted:
            self.stops |= {reason}
        run = self.run_of()
        if accepted and run is not None:
            run.note_stop(reason)
        return accepted

    def applies(self, kind: Kind, visit: Visit) -> bool:
        """See Scene. Only a process that is at work can be overtaken, and once."""
        return kind.act is Act.TAKE and not self.stale and self.run_of() is not None

    def _taken_over(self, kind: Kind, visit: Visit) -> bool:
        """Another process ends the build; this one is as if it had slept meanwhile."""
        if kind.code == "tc":
            row = self.store.build(self.build_id)
            assert row is not None
            self.store.claim(self.build_id, _ANOTHER, row["epoch"])
            self.stale = True
            return True
        self.others_turn(Intention.REVERT if kind.code == "tr" else self.intention)
        self.stale = self.overtaken = True
        self.in_flight = visit.at is At.CALL_BEFORE
        if kind.code == "tr":
            self.stops |= {"reverted"}
        return True

    def others_turn(self, intention: Intention) -> None:
        """Another process ends the build."""
        other = self._open()
        other.carry_out(self.build_id, intention, take_over=True)

    def asked_back(self) -> bool:
        """See Scene: `resume --revert` is no fault, and neither is a delete of what had ended."""
        return bool(self.stops & {"reverted", "removed"})

    def finish(self) -> None:
        """See Scene: `cleanup`."""
        self.injector.new_process()
        self.engine = self._open()
        self.engine.carry_out(self.build_id, Intention.CLEANUP, take_over=True)

    def undo_all(self) -> None:
        """See Scene: `delete`."""
        self.records.may_reopen = True
        self.injector.new_process()
        self.engine = self._open()
        self.engine.carry_out(self.build_id, Intention.DELETE, take_over=True)

    def residue(self) -> dict[str, str]:
        """See Scene."""
        return {
            e["key"]: e["kind"] for e in self.store.effects(self.build_id)
            if e["state"] == "residue"
        }  # fmt: skip

    def waiting(self) -> frozenset[str]:
        """See Scene."""
        return frozenset(
            e["key"] for e in self.store.effects(self.build_id)
            if e["state"] == "residue" and str(e["reason"]).startswith("not tried: ")
        )  # fmt: skip

    def made(self) -> dict[str, str]:
        """See Scene."""
        return {key: self.records.effects[key][0] for key in self.records.done}

    def writes(self) -> int:
        """See Scene."""
        return self.records.writes

    def flaws(self) -> list[str]:
        """See Scene."""
        return [*self.records.flaws, *self.leaks]

    def fault(self) -> dict[str, Any] | None:
        """See Scene."""
        run = self.run_of()
        if run is not None:
            return run.fault  # type: ignore[no-any-return]
        row = self.store.build(self.build_id)
        return row["fault"] if row else None

    def errors(self) -> list[dict[str, Any]]:
        """See Scene."""
        run = self.run_of()
        if run is not None:
            return list(run.errors)
        row = self.store.build(self.build_id)
        return (row["errors"] or []) if row else []

    def own_errors(self) -> list[str]:
        """See Scene: of a flow that is ours every error has been foreseen, or is a fault's."""
        if not self.instance:
            return []
        told = [error for error in (self.fault(), *self.errors()) if error and "type" in error]
        return [
            f"crash: {error['type']} in {error.get('step') or 'the engine'}: {error['message']}"
            for error in told
            if error["type"] not in _FORESEEN and not any(t in error["message"] for t in _TEXTS)
        ]

    def wrong_at_end(self, outcome: Outcome) -> list[str]:
        """See Scene: the row's states are those of its end, and the ledger those of the world."""
        wrong = []
        row = self.store.find(self.build_id)
        if outcome is Outcome.ROLLED_BACK and row["live_name"] is not None:
            wrong.append("name: it is gone, and its name is taken still")
        if self.instance:
            states = (row["vm_state"], row["task_state"])
            if states not in _STATES[outcome]:
                wrong.append(f"states: {outcome.value}, and the machine is {states}")
            stuck = self.records.gave_up_from not in (None, "scheduling")
            if outcome is Outcome.ROLLED_BACK and stuck:
                wrong.append(
                    f"history: nothing is left, and it gave up from {self.records.gave_up_from}"
                )
        if outcome is Outcome.COMPLETE:
            wrong += [
                f"ledger: complete, and the {kind} of {step} is {state}"
                for step, kind, state in (
                    (e["step"], e["kind"], e["state"]) for e in self.store.effects(self.build_id)
                )
                if state not in ("done", "undone")
            ]
            wrong += self._missing()
        return wrong

    def _missing(self) -> list[str]:
        present = self.present()
        if present is None or self.tolerated():
            return []
        return [
            f"ledger: the {e['kind']} of {e['step']} is done, and not there"
            for e in self.store.effects(self.build_id)
            if e["state"] == "done" and e["key"] not in present
        ]

    def vm_state(self) -> str | None:
        """See Scene."""
        return self.records.states.vm_state if self.instance else None

    def edges(self) -> int:
        """See Scene."""
        return self.records.edges

    def edge_names(self) -> tuple[str, ...]:
        """See Scene."""
        return edge_names() if self.instance else ()

    def inventory(self) -> Inventory:
        """See Scene."""
        raise NotImplementedError
