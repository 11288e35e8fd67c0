"""The statements of a step boundary, compiled once per database and run on the DBAPI connection.

Why not through SQLAlchemy's executor each time: a boundary is one fsync and four or five small
statements; building and dispatching them took longer than the fsync. They are still written in
SQLAlchemy Core, so that one text serves SQLite and PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ClauseElement,
    Dialect,
    Text,
    bindparam,
    delete,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from buildflow.engine import schema

Params = Mapping[str, Any]

TERMINAL = ("complete", "rolled_back")
# what nobody works on until somebody asks for it: residue waits for `cleanup`
ENDED = (*TERMINAL, "residue")


class Prepared:
    """One statement as text for a dialect, and the order of its parameters."""

    __slots__ = ("_fixed", "_names", "sql")

    def __init__(self, statement: ClauseElement, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        self.sql = str(compiled)
        names = getattr(compiled, "positiontup", None)
        self._names: Sequence[str] | None = tuple(names) if names else None
        # constants inside the statement (`stop IS NULL` has none; a literal status has one)
        self._fixed = {k: v for k, v in compiled.params.items() if v is not None}

    def bind(self, params: Params) -> Any:
        """`params` in the form that the DBAPI wants."""
        if self._fixed:
            params = {**self._fixed, **params}
        if self._names is None:
            return params
        return [params[name] for name in self._names]

    def execute(self, cursor: Any, params: Params) -> None:
        """Run it once."""
        cursor.execute(self.sql, self.bind(params))

    def execute_many(self, cursor: Any, rows: Iterable[Params]) -> None:
        """Run it for each of `rows`.

        psycopg would send them as one pipeline, and to the server a process that is stopped in the
        middle of one is at work, not idle in its transaction: nobody would end it, and its row
        locks would stop every other owner (engine/store.py: _STOPPED_MS).
        """
        if self._names is None:
            for row in rows:
                self.execute(cursor, row)
        else:
            cursor.executemany(self.sql, [self.bind(row) for row in rows])


def _upsert(dialect: Dialect, table: Any, keys: Sequence[str], keep: Sequence[str] = ()) -> Any:
    make = pg_insert if dialect.name == "postgresql" else sqlite_insert
    values: dict[str, Any] = {c.name: bindparam(c.name) for c in table.columns}
    statement = make(table).values(values)
    changed = {
        c.name: statement.excluded[c.name]
        for c in table.columns
        if c.name not in keys and c.name not in keep
    }
    return statement.on_conflict_do_update(index_elements=list(keys), set_=changed)


def literals(words: Iterable[str]) -> list[Any]:
    """Words of ours as part of a statement's text, where a parameter would hide an index."""
    return [literal_column(f"'{word}'") for word in words]


class Statements:
    """All statements that a boundary may need, for one dialect."""

    def __init__(self, dialect: Dialect) -> None:
        b, i = schema.builds, schema.instances

        def prepare(statement: Any) -> Prepared:
            return Prepared(statement, dialect)

        owned = (
            (b.c.id == bindparam("b_id"))
            & (b.c.epoch == bindparam("b_epoch"))
            & (b.c.seq == bindparam("b_seq"))
        )
        step: dict[str, Any] = {"seq": bindparam("seq")}
        # the fence: nothing else of a unit happens unless it touches its one row
        self.fence = prepare(update(b).where(owned).values(step).returning(b.c.stop))
        # the last commit of a build: refused when anybody has asked it to stop meanwhile
        self.fence_unless_stopped = prepare(
            update(b)
            .where(owned & b.c.stop.is_not_distinct_from(bindparam("b_stop", type_=Text)))
            .values(step)
            .returning(b.c.stop)
        )
        self.build_where = prepare(
            select(b.c.epoch, b.c.seq, b.c.stop).where(b.c.id == bindparam("b_id"))
        )
        self.build_status = prepare(
            update(b)
            .where(b.c.id == bindparam("b_id"))
            .values(
                {
                    name: bindparam(name)
                    for name in (
                        "status",
                        "live_name",
                        "owner",
                        "attempt",
                        "host",
                        "fault",
                        "errors",
                        "results",
                        "finished_at",
                    )
                }
            )
        )
        # what anybody may do to a build
        any_build = b.c.id == bindparam("b_id")
        wanted = {"stop": bindparam("stop", type_=Text)}
        going = b.c.status.not_in(literals(ENDED))
        self.stop = prepare(update(b).where(any_build & going & b.c.stop.is_(None)).values(wanted))
        self.delete_wanted = prepare(update(b).where(any_build).values(wanted))
        claimed: dict[str, Any] = {"owner": bindparam("owner"), "epoch": bindparam("epoch")}
        self.claim = prepare(
            update(b).where(any_build & (b.c.epoch == bindparam("b_epoch"))).values(claimed)
        )
        o = schema.owners
        self.new_owner = prepare(_upsert(dialect, o, ["id"]))
        self.heartbeat = prepare(
            update(o)
            .where(o.c.id == bindparam("b_id"))
            .values({"heartbeat_at": bindparam("heartbeat_at")})
        )
        self.forget_owner = prepare(delete(o).where(o.c.id == bindparam("b_id")))
        self.instance = prepare(
            update(i)
            .where((i.c.uuid == bindparam("b_id")) & (i.c.version == bindparam("b_version")))
            .values(
                {
                    name: bindparam(name)
                    for name in ("vm_state", "task_state", "power_state", "version")
                }
            )
        )
        self.instance_info = prepare(
            update(i)
            .where(i.c.uuid == bindparam("b_id"))
            .values(
                {
                    "network_info": bindparam("network_info"),
                    "block_device_info": bindparam("block_device_info"),
                }
            )
        )
        self.history = prepare(
            insert(schema.history).values(
                {c.name: bindparam(c.name) for c in schema.history.columns if c.name != "id"}
            )
        )
        self.effect = prepare(
            _upsert(dialect, schema.effects, ["key"], keep=["build", "step", "kind", "made_at"])
        )
        # a name or request id that is taken inserts nothing, which the caller then explains
        make = pg_insert if dialect.name == "postgresql" else sqlite_insert
        self.new_build = prepare(
            make(b).values({c.name: bindparam(c.name) for c in b.columns}).on_conflict_do_nothing()
        )
        self.new_instance = prepare(
            insert(i).values({c.name: bindparam(c.name) for c in i.columns})
        )
        self.flow = prepare(_upsert(dialect, schema.flow_details, ["uuid"], keep=["build", "name"]))
        self.atom = prepare(_upsert(dialect, schema.atoms, ["flow", "name"]))
