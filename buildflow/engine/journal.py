"""Commits: a unit is what one step boundary makes durable; units of many builds share one fsync.

A unit is all or nothing and starts with its fence: the build's row must still have the owner's
epoch, and the sequence number that the owner last wrote. A unit whose fence fails writes nothing.
The first caller that finds no commit going on becomes the leader and commits for all that wait;
who comes meanwhile queues up for the next round. So one build alone pays no hand-over, and twenty
pay one fsync together.

A lost answer (the connection dropped while committing) is settled by asking: the sequence number
in the row says whether the unit was applied.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from buildflow.engine.statements import Params, Prepared, Statements
from buildflow.errors import StaleOwner, StateConflict, StoreError

# how long a commit waits for a database server that has gone, in seconds
PATIENCE_S = 20.0


@dataclass(slots=True)
class Unit:
    """What one boundary writes. `seq` is the number it gives the build's row (old value + 1)."""

    build: str
    epoch: int
    seq: int
    unless_stopped: bool = False  # refuse it when the stop request is not `known_stop` any more
    known_stop: str | None = None
    new: Params | None = None  # the row of a build that is being accepted: it needs no fence
    instance: Params | None = None
    free: tuple[Prepared, Params] | None = None  # one statement of anybody's: no fence either
    many: list[tuple[Prepared, list[Params]]] = field(default_factory=list)
    # the outcome, set by the leader
    stop: str | None = None
    rowcount: int = 0
    error: Exception | None = None
    done: threading.Event | None = None


class Refusal(Exception):
    """Inside a commit: this unit's fence or compare-and-set did not hold."""


class Journal:
    """Group commit on one connection.

    `connect` opens a raw DBAPI connection in manual mode; `lost` tells whether an error means that
    the connection has gone, so that the unit is worth another try. `on_commit` is called with
    `before` and `after` round each unit, in the thread that commits it.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        statements: Statements,
        begin: str,
        translate: Callable[[Exception], StoreError],
        *,
        lost: Callable[[Exception], bool] = lambda _: False,
        reconnect_attempts: int = 0,
        on_commit: Callable[[str, Unit], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connect, self._statements, self._begin = connect, statements, begin
        self._translate, self._lost = translate, lost
        self._reconnect_attempts = reconnect_attempts
        self._sleep = sleep
        self.on_commit = on_commit
        self._connection: Any = None
        self._mutex = threading.Lock()
        self._queue: list[Unit] = []
        self._leading = False
        self.commits = 0
        self.units = 0

    def commit(self, unit: Unit) -> str | None:
        """Make `unit` durable; returns the build's stop request, None when there is none.

        Raises StaleOwner when another owner has the build, StateConflict when the instance is not
        in the version that the unit starts from or (with `unless_stopped`) a stop was asked for
        meanwhile, StoreError when the database fails. In each case nothing of it was written.
        """
        hook = self.on_commit
        if hook is not None:
            hook("before", unit)
        with self._mutex:
            self._queue.append(unit)
            if self._leading:
                unit.done = threading.Event()
            else:
                self._leading = True
        if unit.done is not None:
            unit.done.wait()
            if unit.error is _LEAD:  # the last leader has gone: this one leads now
                unit.error = None
                self._lead(unit)
        else:
            self._lead(unit)
        if unit.error is not None:
            raise unit.error
        if hook is not None:
            hook("after", unit)
        return unit.stop

    def write(self, statement: Prepared, params: Params, build: str = "") -> int:
        """One statement that is not a build's own boundary; returns how many rows it touched.

        It must be safe to repeat: a lost answer has it done again.
        """
        unit = Unit(build, 0, 0, free=(statement, params))
        self.commit(unit)
        return unit.rowcount

    def _lead(self, own: Unit) -> None:
        with self._mutex:
            batch, self._queue = self._queue, []
        try:
            self._write(batch)
        except BaseException:
            # a KeyboardInterrupt in the leader's thread: what was begun is undone, or was done
            self._discard()
            for unit in batch:
                unit.error = unit.error or StoreError("the commit was interrupted")
            raise
        finally:
            with self._mutex:
                successor = self._queue[0] if self._queue else None
                if successor is None:
                    self._leading = False
            for unit in batch:
                if unit is not own and unit.done is not None:
                    unit.done.set()
            if successor is not None and successor.done is not None:
                successor.error = _LEAD
                successor.done.set()

    def _write(self, batch: list[Unit], end: float | None = None) -> None:
        """Commit `batch`, or leave in each of its units why it could not be.

        `end` is when a server that has gone is waited for no more.
        """
        attempt = 0
        end = time.monotonic() + PATIENCE_S if end is None else end
        while True:
            try:
                self._write_once(batch, again=attempt > 0)
            except Exception as error:
                self._discard()
                attempt += 1
                # one that does not even refuse a connection takes long to fail
                in_time = attempt <= self._reconnect_attempts and time.monotonic() < end
                if self._lost(error) and in_time:
                    self._sleep(min(0.1 * 2**attempt, 2.0))
                    continue
                if len(batch) > 1 and not self._concerns_all(error):
                    for unit in batch:  # one that can't be written must not take others with it
                        self._write([unit], end)
                    return
                for unit in batch:
                    unit.error = self._translate(error)
                    unit.error.__cause__ = error
            return

    def _write_once(self, batch: list[Unit], *, again: bool) -> None:
        if self._connection is None:
            self._connection = self._connect()
        cursor = self._connection.cursor()
        if self._begin:
            cursor.execute(self._begin)
        for unit in batch:
            unit.error = None
            try:
                self._apply(cursor, unit, again=again)
            except Refusal as refusal:
                unit.error = refusal.args[0]
        self._connection.commit()
        cursor.close()
        self.commits += 1
        self.units += len(batch)

    def _apply(self, cursor: Any, unit: Unit, *, again: bool) -> None:
        s = self._statements
        if unit.free is not None:
            unit.free[0].execute(cursor, unit.free[1])
            unit.rowcount = cursor.rowcount
            return
        if unit.new is not None:
            s.new_build.execute(cursor, unit.new)
            if cursor.rowcount != 1:
                if again and self._is_there(cursor, unit):
                    return
                raise Refusal(StateConflict(f"build {unit.build}: its name or request is taken"))
            self._write_rows(cursor, unit)
            return
        fence = {"b_id": unit.build, "b_epoch": unit.epoch, "b_seq": unit.seq - 1, "seq": unit.seq}
        if unit.unless_stopped:
            s.fence_unless_stopped.execute(cursor, {**fence, "b_stop": unit.known_stop})
        else:
            s.fence.execute(cursor, fence)
        row = cursor.fetchone()
        if row is None:
            self._explain(cursor, unit, again=again)
            return
        unit.stop = row[0]
        if unit.instance is not None:
            s.instance.execute(cursor, unit.instance)
            if cursor.rowcount != 1:
                # the fence has moved the sequence number alone: put it back, nothing was written
                s.fence.execute(cursor, {**fence, "b_seq": unit.seq, "seq": unit.seq - 1})
                raise Refusal(StateConflict(f"build {unit.build}: its instance was changed"))
        self._write_rows(cursor, unit)

    @staticmethod
    def _concerns_all(error: Exception) -> bool:
        """Whether the database itself failed (full, locked, gone), and not one row of one unit."""
        return type(error).__name__ in (
            "OperationalError", "InterfaceError", "StoreError", "ConnectionTimeout",
        )  # fmt: skip

    @staticmethod
    def _write_rows(cursor: Any, unit: Unit) -> None:
        for prepared, rows in unit.many:
            if len(rows) == 1:
                prepared.execute(cursor, rows[0])
            else:
                prepared.execute_many(cursor, rows)

    def _is_there(self, cursor: Any, unit: Unit) -> bool:
        """Whether a new build had been accepted by the very commit whose answer was lost."""
        self._statements.build_where.execute(cursor, {"b_id": unit.build})
        return cursor.fetchone() is not None

    def _explain(self, cursor: Any, unit: Unit, *, again: bool) -> None:
        """Why the fence did not hold; returns when `again` finds this very unit applied before."""
        self._statements.build_where.execute(cursor, {"b_id": unit.build})
        row = cursor.fetchone()
        if row is None:
            raise Refusal(StaleOwner(f"build {unit.build} is no longer in the store"))
        epoch, seq, stop = row
        unit.stop = stop
        if again and epoch == unit.epoch and seq == unit.seq:
            return
        if epoch == unit.epoch and seq == unit.seq - 1 and unit.unless_stopped:
            raise Refusal(StateConflict(f"build {unit.build}: asked to stop ({stop})"))
        found = f"epoch {epoch} and commit {seq}, ours {unit.epoch} and {unit.seq - 1}"
        raise Refusal(StaleOwner(f"build {unit.build} has another owner now ({found})"))

    def _discard(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):  # it is broken; closing is a courtesy
                connection.close()

    def close(self) -> None:
        """Close the connection."""
        with self._mutex:
            self._discard()


_LEAD: Any = object()
