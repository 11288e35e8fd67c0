"""Everything that exists outside of a simulated engine: hosts, networks, volumes, images.

    world = SimulatedWorld()                        # in memory
    world = SimulatedWorld(path="world.jsonl")      # in a file: survives SIGKILL, may be shared

The drivers act on it, `by_hand.py` changes it behind their back, and an oracle reads what became of
it: `snapshot()` and `digest()`, `operations()` in their order, and `violations`, which are noted as
they happen: a key made twice, a volume unmapped while its host had it open, a disk deleted under a
live QEMU, a network released below a running guest.

Rules: one lock, held for one driver call. Nothing here sleeps but `latency_s`, and that on the
clock; what takes time (a volume that is being created, a guest that boots) is read off the clock
when somebody looks. The clock of a world never goes back: with a fresh clock handed in after a
crash, time goes on from the last change.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from buildflow.drivers.protocols import Json
from buildflow.drivers.simulated import inventory
from buildflow.drivers.simulated.by_hand import ByHand
from buildflow.drivers.simulated.change import Change
from buildflow.drivers.simulated.content import Content, default_content
from buildflow.drivers.simulated.journal import Journal
from buildflow.drivers.simulated.options import WorldOptions, options_from
from buildflow.drivers.simulated.state import State
from buildflow.engine.clock import Clock, SystemClock


class Operation(NamedTuple):
    """One change that was made: the call, the effect's key, and what the outside calls it."""

    name: str
    key: str | None
    id: str | None


class SimulatedWorld(Content, ByHand):
    """See the module.

    `path` is a file to keep it in, made when it is not there; None keeps it in memory. `options`
    and the default content (networks `default` and `user`, images `cirros` and `tiny`) are laid
    down when the world is new; a world that is there keeps its own.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        clock: Clock | None = None,
        options: WorldOptions | Mapping[str, Any] | None = None,
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self.state = State()
        self.options = WorldOptions()
        self._journal = None if path is None else Journal(Path(path))
        self._start_over()
        _worlds.add(self)
        if not isinstance(options, WorldOptions):
            options = options_from(options or {})
        with self.change("") as change:
            if not change.state.tables["options"]:
                change.put("options", "world", options.to_json())
                default_content(change)

    # --- what an oracle reads -------------------------------------------------------------------

    def snapshot(self) -> Json:
        """The whole inventory as it is now: JSON, sorted, without times, keys of what is not kept,
        or anything else in which two equal worlds could differ.
        """
        with self.look() as state:
            return inventory.snapshot(state, self.now())

    def digest(self) -> str:
        """A hash of `snapshot()`."""
        with self.look() as state:
            return inventory.digest(state, self.now())

    def operations(self) -> list[Operation]:
        """Every change of the world since it was made, in order; calls that changed nothing are not
        among them. What was done by hand is called `by_hand.…`.
        """
        with self.look():
            return [Operation(*each) for each in self._log]

    @property
    def violations(self) -> list[str]:
        """What was done that must never be done, in order."""
        with self.look():
            return list(self._violations)

    def copy(self, clock: Clock | None = None) -> SimulatedWorld:
        """Another world in memory that is like this one and goes its own way from here."""
        new = type(self).__new__(type(self))
        with self.look() as state:
            new.clock = clock or self.clock
            new.state = state.copy()
            new.options = self.options
            new._journal = None
            new._log = list(self._log)
            new._violations = list(self._violations)
            new._latest, new._offset = self.now(), 0.0
            new._renew_lock()
        _worlds.add(new)
        return new

    def configure(self, **changes: Any) -> None:
        """Change some of the options, for every process that shares this world."""
        with self.change("") as change:
            new = options_from({**asdict(self.options), **changes})
            change.put("options", "world", new.to_json())

    def use_clock(self, clock: Clock) -> None:
        """Go on with another clock, from the time that it is."""
        with self.look():
            self._latest = self.now()
            self.clock, self._offset = clock, 0.0

    def close(self) -> None:
        """Let go of the file; it is opened again when it is needed."""
        with self._lock:
            if self._journal is not None:
                self._journal.close()

    # --- what the drivers use -------------------------------------------------------------------

    def look(self) -> _Look:
        """The state, held still: `with world.look() as state:`."""
        return _Look(self)

    def change(self, name: str, key: str | None = None, id: str | None = None) -> Change:
        """A change about to be made: `with world.change("create_port", key) as change:`."""
        return Change(self, name, key, id)

    def now(self) -> float:
        """Seconds on the world's clock. Call it while the world is held."""
        now = self.clock.monotonic() + self._offset
        if now < self._latest:
            self._offset += self._latest - now
            now = self._latest
        return now

    def delay(self) -> None:
        """What a driver call takes, on the clock; before the world is held."""
        if self.options.latency_s:
            self.clock.sleep(self.options.latency_s)

    def hold(self, *, writing: bool) -> None:
        """Keep every other thread out, and with `writing` every other process; read the news."""
        self._lock.acquire()
        if self._journal is None:
            return
        try:
            if writing:
                self._journal.lock()
            for each in self._journal.news(locked=writing):
                self._apply(each)
        except BaseException:
            self.let_go(writing=writing)
            raise

    def let_go(self, *, writing: bool) -> None:
        """The end of `hold`."""
        try:
            if writing and self._journal is not None:
                self._journal.unlock()
        finally:
            self._lock.release()

    def commit(self, change: Change) -> None:
        """Make a change; it is in the file before it is in memory."""
        written = change.to_list()
        if self._journal is not None:
            self._journal.append(written)
        self._apply(written)

    # --- inside ---------------------------------------------------------------------------------

    def _apply(self, change: list[Any]) -> None:
        name, key, external, at, puts, violations, made, forgotten = change
        state = self.state
        for table, record_id, record in puts:
            state.put(table, record_id, record)
            if table == "options":
                self.options = options_from(record)
        if made:
            state.made.update(made)
        if forgotten:
            state.made.difference_update(forgotten)
        if violations:
            self._violations += violations
        if name:
            self._log.append((name, key, external))
        self._latest = max(self._latest, at)

    def _start_over(self) -> None:
        self.state = State()
        self._log: list[tuple[str, str | None, str | None]] = []
        self._violations: list[str] = []
        self._latest, self._offset = 0.0, 0.0
        self._renew_lock()

    def _renew_lock(self) -> None:
        self._lock = threading.RLock()

    def _after_fork(self) -> None:
        if self._journal is None:
            self._renew_lock()
        else:
            # another thread may have been in the middle of a change: the file knows what was made
            self._journal.reopen()
            self._start_over()


class _Look:
    """Holds a world while it is read."""

    __slots__ = ("_world",)

    def __init__(self, world: SimulatedWorld) -> None:
        self._world = world

    def __enter__(self) -> State:
        self._world.hold(writing=False)
        return self._world.state

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._world.let_go(writing=False)


# a forked child must neither inherit a held lock nor share the parent's lock on the file
_worlds: weakref.WeakSet[SimulatedWorld] = weakref.WeakSet()


def _after_fork() -> None:
    for world in list(_worlds):
        world._after_fork()


os.register_at_fork(after_in_child=_after_fork)
