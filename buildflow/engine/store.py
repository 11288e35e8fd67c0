"""The store: opening it, reading it, and the few writes that are not a build's own boundary.

Rules: everything that a running build writes goes through the journal (engine/journal.py), fenced
by epoch and sequence. What is here is done by anybody: creating a build, asking it to stop,
claiming it. Rows come out as plain dictionaries with JSON columns decoded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Dialect,
    Engine,
    create_engine,
    event,
    select,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from tenacity import Retrying, retry_if_exception_message, stop_after_delay, wait_random

from buildflow.engine import migrations
from buildflow.engine.journal import Journal, Unit
from buildflow.engine.reads import BUILD, Reads, Selects, decode, encode
from buildflow.engine.schema import builds, effects, instances
from buildflow.engine.statements import ENDED as ENDED
from buildflow.engine.statements import TERMINAL as TERMINAL
from buildflow.engine.statements import Statements
from buildflow.errors import BadInput, Conflict, NotFound, StateConflict, StoreError
from buildflow.redact import without_credentials

Row = dict[str, Any]
Rows = list[Row]  # in a class that has a method of that name, `list` is that

STATUSES = ("queued", "running", "rolling_back", "complete", "rolled_back", "residue")


# longest pause between two statements of one transaction, in ms; ours take microseconds
_STOPPED_MS = 5000
# libpq's: how soon a PostgreSQL that says nothing is taken for gone (seconds, and milliseconds)
_SILENCE = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


def _retry_locked(timeout_s: float) -> Retrying:
    """SQLite waits for a lock, but not for one who is about to change the journal mode as well."""
    return Retrying(
        retry=retry_if_exception_message(match="database is locked"),
        stop=stop_after_delay(timeout_s),
        wait=wait_random(0.005, 0.05),
        reraise=True,
    )


class Store:
    """One database. `url` is SQLAlchemy's; SQLite is opened in WAL with synchronous=FULL."""

    def __init__(
        self, url: str, *, busy_timeout_s: float = 10.0, synchronous: str = "FULL"
    ) -> None:
        self.url = url
        self._safe_url = without_credentials(url)
        self._sqlite = make_url(url).get_backend_name() == "sqlite"
        self._busy_timeout_s = busy_timeout_s
        self._synchronous = synchronous
        self.engine = self._make_engine()
        self.statements, self._selects = _compiled(self.engine.dialect)
        try:
            self._migrate()
        except (SQLAlchemyError, OSError) as error:
            self.engine.dispose()
            raise self.translate(error) from error
        self.journal = Journal(
            self._writer,
            self.statements,
            begin="BEGIN IMMEDIATE" if self._sqlite else "",
            translate=self.translate,
            lost=self._lost,
            # a database server may be restarted under us: a unit waits for it to come back
            reconnect_attempts=0 if self._sqlite else 12,
        )
        self._reads = Reads(self._reader, self.translate, self._lost)

    # --- opening --------------------------------------------------------------------------------

    def _make_engine(self) -> Engine:
        if self._sqlite:
            database = make_url(self.url).database
            if database and database != ":memory:":
                try:
                    Path(database).parent.mkdir(parents=True, exist_ok=True)
                except OSError as error:
                    raise StoreError(f"the store's folder can't be made: {error}") from error
            engine = create_engine(
                self.url, connect_args={"timeout": self._busy_timeout_s, "check_same_thread": False}
            )
            synchronous, busy_timeout_s = self._synchronous, self._busy_timeout_s

            @event.listens_for(engine, "connect")
            def _pragmas(connection: Any, _record: Any) -> None:
                cursor = connection.cursor()
                _retry_locked(busy_timeout_s)(cursor.execute, "PRAGMA journal_mode=WAL")
                cursor.execute(f"PRAGMA synchronous={synchronous}")
                cursor.execute("PRAGMA foreign_keys=ON")
                cursor.close()

            return engine
        # A process that is stopped in mid-transaction holds its row locks for as long as it likes:
        # the server ends its session, and the fence settles what it may still have committed.
        # One that is silent (a cut line, a host without power) is lost within seconds, not when TCP
        # gives up after a quarter of an hour. What the URL says wins.
        told = make_url(self.url).query
        options = f"{told.get('options', '')} -c idle_in_transaction_session_timeout={_STOPPED_MS}"
        arguments = {name: value for name, value in _SILENCE.items() if name not in told}
        return create_engine(
            self.url, pool_pre_ping=True, connect_args={**arguments, "options": options.strip()}
        )

    def _migrate(self) -> None:
        with self.engine.connect() as connection:
            found = migrations.version(connection)
        if found == migrations.HEAD:
            return
        if found is not None and found > migrations.HEAD:
            raise StoreError(
                f"{self._safe_url} was written by a newer buildflow (schema {found}, this one"
                f" knows {migrations.HEAD}): use that one"
            )
        with self._migration_lock(), self.engine.begin() as connection:
            if not self._sqlite:
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7236423)")
            if migrations.version(connection) != migrations.HEAD:
                migrations.upgrade(connection)

    def _migration_lock(self) -> Any:
        """Two processes that open a new store at once: one makes it, the other waits."""
        import contextlib
        import fcntl

        database = make_url(self.url).database
        if not self._sqlite or not database or database == ":memory:":
            return contextlib.nullcontext()

        @contextlib.contextmanager
        def locked() -> Any:
            with Path(f"{database}.lock").open("w") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX)
                yield

        return locked()

    def _writer(self) -> Any:
        pooled = self.engine.raw_connection()
        connection: Any = pooled.driver_connection
        pooled.detach()  # the journal's own from here on
        if self._sqlite:
            connection.isolation_level = None
        return connection

    def _reader(self) -> Any:
        connection = self._writer()
        if not self._sqlite:
            connection.autocommit = True
        return connection

    def _lost(self, error: Exception) -> bool:
        """Whether a database server has gone, and may come back."""
        return not self._sqlite and type(error).__name__ in (
            "OperationalError", "InterfaceError", "AdminShutdown", "CrashShutdown",
            "IdleInTransactionSessionTimeout", "ConnectionTimeout",
        )  # fmt: skip

    def translate(self, error: Exception) -> StoreError:
        """A database's exception as one clear line, with what to do."""
        if isinstance(error, StoreError):
            return error
        original = error.orig if isinstance(error, DBAPIError) and error.orig else error
        text = " ".join(str(original).split())
        low = text.lower()
        where = self._safe_url
        for mark, advice in _ADVICE:
            if mark in low:
                return StoreError(f"the store {where} {advice}")
        return StoreError(f"the store {where} can't be used: {text}")

    def close(self) -> None:
        """Close every connection."""
        self._reads.close()
        self.journal.close()
        self.engine.dispose()

    def _read(self, statement: Any) -> Rows:
        try:
            with self.engine.connect() as connection:
                return [decode(dict(row)) for row in connection.execute(statement).mappings()]
        except SQLAlchemyError as error:
            raise self.translate(error) from error

    # --- reading --------------------------------------------------------------------------------

    def build(self, build_id: str) -> Row | None:
        """One build's row joined with its instance's, None when there is none."""
        rows = self._reads.run(self._selects.build, build_id)
        return rows[0] if rows else None

    def find(self, name_or_id: str) -> Row:
        """The build with this id, or the one that alone has this name.

        Raises NotFound; Conflict when several have the name and none of them is live.
        """
        row = self.build(name_or_id)
        if row is not None:
            return row
        rows = self._read(
            BUILD.where(builds.c.name == name_or_id).order_by(builds.c.created_at.desc()).limit(3)
        )
        live = [row for row in rows if row["live_name"] is not None]
        if len(live) == 1:
            return live[0]
        if len(rows) == 1:
            return rows[0]
        if not rows:
            raise NotFound(
                f"no build has the id or name {name_or_id!r}; `buildflow list` shows all"
            )
        raise Conflict(
            f"several builds were named {name_or_id!r}; give an id, such as {rows[0]['id']}"
            " (the newest)"
        )

    def by_request(self, request_id: str) -> Row | None:
        """The build that was asked for with this request id."""
        rows = self._reads.run(self._selects.by_request, request_id)
        return rows[0] if rows else None

    def list(self, limit: int | None = 100, statuses: Sequence[str] | None = None) -> Rows:
        """Builds, newest first, at most `limit` of them."""
        statement = _LIST.order_by(builds.c.created_at.desc())
        if statuses is not None:
            statement = statement.where(builds.c.status.in_(statuses))
        if limit is not None:
            statement = statement.limit(limit)
        return self._read(statement)

    def unfinished(self) -> Rows:
        """Builds that are neither complete nor rolled back, oldest first."""
        rows = self._reads.run(self._selects.unfinished, None)
        # sorted here, so that SQLite does not walk the index of the dates instead of the small one
        return sorted(rows, key=lambda row: row["created_at"])

    def effects(self, build_id: str) -> Rows:
        """The ledger of one build, in the order in which its effects were begun."""
        return self._reads.run(self._selects.effects, build_id)

    def all_effects(self, states: Sequence[str]) -> Rows:
        """Effects of every build that are in one of `states`."""
        return self._read(select(effects).where(effects.c.state.in_(states)))

    def history(self, build_id: str) -> Rows:
        """Transitions of one build, in order."""
        return self._reads.run(self._selects.history, build_id)

    def flows(self, build_id: str) -> Rows:
        """TaskFlow's flow details of one build."""
        return self._reads.run(self._selects.flows, build_id)

    def atoms(self, flow_uuid: str) -> Rows:
        """TaskFlow's atom details of one flow; those that never ran have none."""
        return self._reads.run(self._selects.atoms, flow_uuid)

    def stops(self, build_ids: Sequence[str]) -> dict[str, tuple[str | None, int]]:
        """For each build its stop request and its epoch."""
        rows = self._read(
            select(builds.c.id, builds.c.stop, builds.c.epoch).where(builds.c.id.in_(build_ids))
        )
        return {row["id"]: (row["stop"], row["epoch"]) for row in rows}

    # --- writes by anybody ----------------------------------------------------------------------

    def create(self, build: Mapping[str, Any], instance: bool, flow: Mapping[str, Any]) -> Row:
        """Accept a build: its row, its instance's and its flow detail's, in one commit.

        Returns the row as stored: that of an earlier build when the request id was seen before.
        Raises Conflict when a live build has the name.
        """

        s = self.statements
        row: Row = {**_NO_BUILD, **build}
        unit = Unit(build["id"], row["epoch"], row["seq"], new=encode(row))
        if instance:
            states = {"vm_state": "building", "task_state": "scheduling", "power_state": 0}
            fresh = {**states, "version": 0, "network_info": None, "block_device_info": None}
            row.update(fresh)
            unit.many.append((s.new_instance, [{"uuid": build["id"], **fresh}]))
            accepted = {"build": build["id"], "at": build["created_at"], "trigger": "accept"}
            unit.many.append((s.history, [{**accepted, "step": None, **states}]))
        else:
            row.update(_NO_INSTANCE)
        unit.many.append((s.flow, [{**encode(flow), "state": None}]))
        try:
            self.journal.commit(unit)
        except StateConflict:
            earlier = self.by_request(row["request_id"]) if row["request_id"] else None
            if earlier is not None:
                return earlier
            holder = self._read(BUILD.where(builds.c.live_name == row["live_name"]))
            taken = f" by build {holder[0]['id']} ({holder[0]['status']})" if holder else ""
            raise Conflict(
                f"the name {row['live_name']!r} is taken{taken}; delete it or choose another name"
            ) from None
        return row

    def request_stop(self, build_id: str, reason: str) -> bool:
        """Ask a build to stop. A delete outranks the other reasons; else the first one stands.

        Returns False when the build has ended already and cannot be stopped.
        """
        s = self.statements
        wanted = s.delete_wanted if reason == "deleted" else s.stop
        if self.journal.write(wanted, {"b_id": build_id, "stop": reason}, build_id) == 1:
            return True
        row = self.build(build_id)
        return row is not None and row["stop"] is not None and row["status"] not in ENDED

    def claim(self, build_id: str, owner: str, epoch: int) -> int | None:
        """Become the owner of a build whose epoch was read as `epoch`.

        Returns the new epoch; None when somebody else was faster.
        """
        params = {"b_id": build_id, "b_epoch": epoch, "owner": owner, "epoch": epoch + 1}
        touched = self.journal.write(self.statements.claim, params, build_id)
        return epoch + 1 if touched == 1 else None

    def register_owner(self, row: Mapping[str, Any]) -> None:
        """Say that a process may own builds."""
        self.journal.write(self.statements.new_owner, row)

    def heartbeat(self, owner: str, at: str) -> None:
        """Say that it lives."""
        self.journal.write(self.statements.heartbeat, {"b_id": owner, "heartbeat_at": at})

    def owner(self, owner_id: str) -> Row | None:
        """One owner's row."""
        rows = self._reads.run(self._selects.owner, owner_id)
        return rows[0] if rows else None

    def forget_owner(self, owner_id: str) -> None:
        """Remove an owner that ended in good order."""
        self.journal.write(self.statements.forget_owner, {"b_id": owner_id})


_COMPILED: dict[tuple[str, str], tuple[Statements, Selects]] = {}


def _compiled(dialect: Dialect) -> tuple[Statements, Selects]:
    """The statements for a dialect, compiled once a process."""
    key = (dialect.name, dialect.paramstyle)
    if key not in _COMPILED:
        _COMPILED[key] = Statements(dialect), Selects(dialect)
    return _COMPILED[key]


_NO_BUILD: Row = {c.name: None for c in builds.columns}
_NO_INSTANCE: Row = {c.name: None for c in instances.columns if c.name != "uuid"}
_LIST = select(
    builds.c.id, builds.c.name, builds.c.status, builds.c.host, builds.c.created_at,
    builds.c.finished_at, builds.c.owner, builds.c.stop, builds.c.flow,
    instances.c.vm_state, instances.c.task_state, instances.c.power_state,
).select_from(builds.outerjoin(instances, builds.c.id == instances.c.uuid))  # fmt: skip

_ADVICE = (
    ("readonly", "can't be written: it is read-only; give it back to the user who runs this"),
    ("read-only", "can't be written: it is read-only; give it back to the user who runs this"),
    ("unable to open", "can't be opened: see that its folder exists and may be written"),
    ("is full", "can't be written: the disk is full; make room, then `buildflow resume`"),
    ("disk i/o error", "can't be written: the disk fails or is full; then `buildflow resume`"),
    ("locked", "stays locked by another process; see who holds it, then try again"),
    ("not a database", "is not a buildflow store: it is damaged, or another kind of file"),
    ("malformed", "is damaged; restore it from a backup (sqlite3 FILE .recover may help)"),
    ("connection refused", "does not answer: start the database server, or check the URL"),
    ("password authentication failed", "refuses the user or password"),
)


def require_name(value: str) -> str:
    """A build's name or id as given on a command line; BadInput when it is empty."""
    if not value:
        raise BadInput("give a build's id or name")
    return value
