"""What the store knows of each job: how often it was tried, until when it waits, why it is aside.

A job that fails to be carried out (its hypervisor is down, its flow has changed) is never dropped:
it backs off, and after a limit it stands aside with its reason until somebody posts it again. The
board only says who works on what; should it lose its jobs, they are posted again from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from buildflow.distributed.placement import NO_ROOM
from buildflow.distributed.transaction import transact
from buildflow.engine.clock import Clock, stamp
from buildflow.engine.schema import builds, instances, jobs
from buildflow.engine.store import Row, Store

# asked: for a conductor to put on the board; posted: on the board; aside: tried too often
ASKED, POSTED, ASIDE = "asked", "posted", "aside"
MAX_TRIES: Final = 8
MAX_BACKOFF_S: Final = 60.0
# how many that wait for room are tried again when there is some: not a long board's whole length
WOKEN: Final = 32


class Jobs:
    """The jobs' rows in a store that all conductors share."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    def post(self, build: str, state: str = POSTED) -> None:
        """Remember that a build is on the board, or should be; anew if it stood aside."""
        now = stamp(self._clock.now())
        values = {
            "state": state, "tries": 0, "not_before": None, "reason": None, "posted_at": now,
        }  # fmt: skip

        make = pg_insert if self._store.engine.dialect.name == "postgresql" else sqlite_insert
        # two may post it at once
        statement = (
            make(jobs)
            .values(build=build, **values)
            .on_conflict_do_update(index_elements=[jobs.c.build], set_=values)
        )
        transact(self._store, lambda c: c.execute(statement))

    def row(self, build: str) -> Row | None:
        """One job's row."""
        statement = select(jobs).where(jobs.c.build == build)
        row = transact(self._store, lambda c: c.execute(statement).mappings().first())
        return dict(row) if row is not None else None

    def glance(self, build: str) -> Row | None:
        """What must be known of a build before its job is claimed; `job` is its state."""
        row = transact(
            self._store, lambda c: c.execute(_GLANCE, {"wanted": build}).mappings().first()
        )
        return dict(row) if row is not None else None

    def glances(self, wanted: Sequence[str]) -> dict[str, Row]:
        """The same of several at once, by build."""
        rows = transact(
            self._store, lambda c: c.execute(_GLANCES, {"wanted": list(wanted)}).mappings().all()
        )
        return {row["id"]: dict(row) for row in rows}

    def must_wait(self, row: Row) -> bool:
        """Whether it is too early to try a job again."""
        not_before = row["not_before"]
        return bool(not_before is not None and not_before > stamp(self._clock.now()))

    def failed(self, row: Row, reason: str, max_tries: int = MAX_TRIES) -> bool:
        """Count a try that failed. True when the job now stands aside because of it.

        `row` is what `glance` said of it. Nothing is counted when that holds no more: of several
        conductors that try on one and the same glance, one counts.
        """
        build = row["id"]
        if row["job"] is None:
            return False
        tries = int(row["tries"]) + 1
        wait = min(0.5 * 2**tries, MAX_BACKOFF_S)
        aside = tries >= max_tries
        values = {
            "tries": tries,
            "reason": reason,
            "not_before": stamp(self._clock.now() + timedelta(seconds=wait)),
            "state": ASIDE if aside else POSTED,
        }
        b = builds.c
        same_owner = b.owner.is_not_distinct_from(row["owner"]) & (b.status == row["status"])
        same_build = exists().where((b.id == build) & same_owner)
        same_job = (jobs.c.tries == row["tries"]) & (jobs.c.posted_at == row["posted_at"])
        as_seen = (jobs.c.build == build) & same_job & same_build
        statement = update(jobs).where(as_seen).values(**values)
        return transact(self._store, lambda c: int(c.execute(statement).rowcount)) > 0 and aside

    def note(self, build: str, reason: str) -> None:
        """Say why somebody leaves a job to others; no try is counted."""
        statement = update(jobs).where(jobs.c.build == build).values(reason=reason)
        transact(self._store, lambda c: c.execute(statement))

    def taken(self, build: str) -> None:
        """Somebody is at work on it: why it waited holds no more. Its tries are still counted."""
        values = {"reason": None, "not_before": None}
        statement = update(jobs).where(jobs.c.build == build).values(**values)
        transact(self._store, lambda c: c.execute(statement))

    def forget(self, row: Row) -> None:
        """Its build has ended. `row` is what `glance` said of it.

        What somebody has asked for since then is another job, and stays.
        """
        job = (jobs.c.build == row["id"]) & (jobs.c.posted_at == row["posted_at"])
        transact(self._store, lambda c: c.execute(delete(jobs).where(job)))

    def listed(self, limit: int | None = 100) -> list[Row]:
        """Jobs that wait, run or stand aside, oldest first, with their build's states."""
        b = builds.c
        statement = (
            select(jobs, b.name, b.status, b.stop, instances.c.vm_state, b.host, b.owner)
            .select_from(jobs.join(builds, jobs.c.build == b.id))
            .outerjoin(instances, instances.c.uuid == b.id)
            .order_by(jobs.c.posted_at)
        )
        if limit is not None:
            statement = statement.limit(limit)
        return transact(self._store, lambda c: [dict(r) for r in c.execute(statement).mappings()])

    def count(self) -> int:
        """How many jobs should be on the board."""
        statement = select(func.count()).select_from(jobs).where(jobs.c.state != ASIDE)
        return transact(self._store, lambda c: int(c.execute(statement).scalar_one()))

    def asked(self, limit: int = 100) -> list[str]:
        """Builds that somebody who has no jobboard asked for: now ours to put on the board.

        So are those that stand aside before they have begun, and are to stop.
        """
        b = builds.c
        to_stop = exists().where(
            (b.id == jobs.c.build) & (b.status == "queued") & b.stop.is_not(None)
        )
        wanted = (jobs.c.state == ASKED) | ((jobs.c.state == ASIDE) & to_stop)
        found = select(jobs.c.build, jobs.c.state).where(wanted).limit(limit)
        values = {"state": POSTED, "tries": 0, "not_before": None, "reason": None}

        def work(connection: Connection) -> list[str]:
            mine = []
            for build, state in connection.execute(found).all():
                # of two conductors that see it, one posts it
                row = (jobs.c.build == build) & (jobs.c.state == state)
                if connection.execute(update(jobs).where(row).values(**values)).rowcount:
                    mine.append(build)
            return mine

        return transact(self._store, work)

    def unasked(self, wanted: Sequence[str], reason: str) -> None:
        """They could not be put on the board: somebody is to do it later."""
        mine = jobs.c.build.in_(list(wanted)) & (jobs.c.state == POSTED)
        statement = update(jobs).where(mine).values(state=ASKED, reason=reason)
        transact(self._store, lambda c: c.execute(statement))

    def adopt(self, older_s: float) -> list[str]:
        """Builds that wait for a conductor without a job: whoever asked for them died at it."""
        before = stamp(self._clock.now() - timedelta(seconds=older_s))
        b = builds.c
        lost = (
            select(b.id)
            .select_from(builds.outerjoin(jobs, jobs.c.build == b.id))
            .where((b.status == "queued") & b.owner.is_(None) & jobs.c.build.is_(None))
            .where(b.created_at < before)
        )
        found = transact(self._store, lambda c: list(c.execute(lost).scalars()))
        for build in found:
            self.post(build, ASKED)
        return found

    def unposted(self, on_board: set[str], older_s: float, limit: int = 200) -> list[str]:
        """Builds whose job the board has lost: now ours to post again.

        A job that was posted less than `older_s` ago may not have reached the board yet.
        """
        before = stamp(self._clock.now() - timedelta(seconds=older_s))
        statement = (
            select(jobs.c.build, jobs.c.posted_at)
            .where((jobs.c.state == POSTED) & (jobs.c.posted_at < before))
            .order_by(jobs.c.posted_at)
        )
        now = stamp(self._clock.now())

        def work(connection: Connection) -> list[str]:
            mine: list[str] = []
            for build, posted_at in connection.execute(statement).all():
                if build in on_board or len(mine) == limit:
                    continue
                # of several conductors that miss it, one posts it
                row = (jobs.c.build == build) & (jobs.c.posted_at == posted_at)
                if connection.execute(update(jobs).where(row).values(posted_at=now)).rowcount:
                    mine.append(build)
            return mine

        return transact(self._store, work)


def wake(connection: Connection) -> None:
    """There is room: the jobs that have waited for it longest are tried again at once."""
    queued = exists().where((builds.c.id == jobs.c.build) & (builds.c.status == "queued"))
    waiting = (
        select(jobs.c.build)
        .where((jobs.c.state == POSTED) & jobs.c.reason.startswith(NO_ROOM) & queued)
        .order_by(jobs.c.posted_at)
        .limit(WOKEN)
        # one that is being changed is being tried
        .with_for_update(skip_locked=True)
    )
    values = {"tries": 0, "not_before": None, "reason": None}
    connection.execute(update(jobs).where(jobs.c.build.in_(waiting)).values(**values))


_OF_THE_JOB: Final = ("tries", "not_before", "reason", "posted_at")


def _glance() -> Any:
    b = builds.c
    i = instances.c
    columns = (b.id, b.name, b.status, b.host, b.stop, b.deadline_at, b.owner, b.inputs, i.vm_state)
    return select(
        *columns, jobs.c.state.label("job"), *(jobs.c[name] for name in _OF_THE_JOB)
    ).select_from(
        builds.outerjoin(jobs, jobs.c.build == builds.c.id).outerjoin(
            instances, instances.c.uuid == builds.c.id
        )
    )


_GLANCE: Final = _glance().where(builds.c.id == bindparam("wanted"))
_GLANCES: Final = _glance().where(builds.c.id.in_(bindparam("wanted", expanding=True)))
