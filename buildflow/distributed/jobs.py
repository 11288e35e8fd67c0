"""What the store knows of each job: how often it was tried, until when it waits, why it is aside.

A job that fails to be carried out (its hypervisor is down, its flow has changed) is never dropped:
it backs off, and after a limit it stands aside with its reason until somebody posts it again.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from buildflow.engine.clock import Clock, stamp
from buildflow.engine.schema import builds, jobs
from buildflow.engine.store import Row, Store

POSTED, ASIDE = "posted", "aside"
MAX_TRIES = 8
MAX_BACKOFF_S = 60.0


class Jobs:
    """The jobs' rows in a store that all conductors share."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    def post(self, build: str) -> None:
        """Remember that a build is on the board, anew if it stood aside."""
        now = stamp(self._clock.now())

        def work(connection: Connection) -> None:
            values = {"state": POSTED, "tries": 0, "not_before": None, "reason": None}
            known = connection.execute(update(jobs).where(jobs.c.build == build).values(**values))
            if known.rowcount == 0:
                connection.execute(insert(jobs).values(build=build, posted_at=now, **values))

        self._do(work)

    def row(self, build: str) -> Row | None:
        """One job's row."""

        def work(connection: Connection) -> Any:
            found = connection.execute(select(jobs).where(jobs.c.build == build)).mappings().first()
            return dict(found) if found is not None else None

        row: Row | None = self._do(work)
        return row

    def must_wait(self, row: Row | None) -> bool:
        """Whether it is too early to try a job again."""
        return (
            row is not None
            and row["not_before"] is not None
            and (row["not_before"] > stamp(self._clock.now()))
        )

    def failed(self, build: str, reason: str, max_tries: int = MAX_TRIES) -> bool:
        """Count a try that failed. True when the job now stands aside."""
        row = self.row(build)
        tries = (row["tries"] if row else 0) + 1
        wait = min(0.5 * 2**tries, MAX_BACKOFF_S)
        not_before = stamp(self._clock.now() + timedelta(seconds=wait))
        state = ASIDE if tries >= max_tries else POSTED
        values = {"tries": tries, "reason": reason, "not_before": not_before, "state": state}
        self._do(
            lambda connection: connection.execute(
                update(jobs).where(jobs.c.build == build).values(**values)
            )
        )
        return state == ASIDE

    def forget(self, build: str) -> None:
        """Its build has ended."""
        self._do(lambda connection: connection.execute(delete(jobs).where(jobs.c.build == build)))

    def listed(self, limit: int | None = 100) -> list[Row]:
        """Jobs that wait, run or stand aside, oldest first, with their build's status."""
        statement = (
            select(jobs, builds.c.name, builds.c.status, builds.c.host, builds.c.owner)
            .select_from(jobs.join(builds, jobs.c.build == builds.c.id))
            .order_by(jobs.c.posted_at)
        )
        if limit is not None:
            statement = statement.limit(limit)
        rows: list[Row] = self._do(
            lambda connection: [dict(row) for row in connection.execute(statement).mappings()]
        )
        return rows

    def unposted(self, on_board: set[str], limit: int = 200) -> list[str]:
        """Builds whose job should be on the board and is not: the board has lost it."""
        statement = (
            select(jobs.c.build)
            .select_from(jobs.join(builds, jobs.c.build == builds.c.id))
            .where(
                (jobs.c.state == POSTED)
                & builds.c.status.in_(("queued", "running", "rolling_back"))
            )
            .order_by(jobs.c.posted_at)
        )

        def work(connection: Connection) -> list[str]:
            return list(connection.execute(statement).scalars())

        return [build for build in self._do(work) if build not in on_board][:limit]

    def _do(self, work: Any) -> Any:
        try:
            with self._store.engine.begin() as connection:
                return work(connection)
        except SQLAlchemyError as error:
            raise self._store.translate(error) from error
