"""The selects that every build needs, compiled once and run on connections of their own.

Through SQLAlchemy's executor one look at a build cost as much as two of its durable commits; that
way stays for what is asked for rarely (engine/store.py).
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Dialect, bindparam, select, text

from buildflow.engine.schema import atoms, builds, effects, flow_details, history, instances, owners
from buildflow.engine.statements import Prepared
from buildflow.errors import StoreError

Row = dict[str, Any]

JSON_COLUMNS: Final = frozenset({
    "inputs", "fingerprint", "fault", "errors", "results", "facts", "meta", "detail",
    "network_info", "block_device_info",
})  # fmt: skip

BUILD: Final = select(builds, *(c for c in instances.c if c.name != "uuid")).select_from(
    builds.outerjoin(instances, builds.c.id == instances.c.uuid)
)

# connections that are kept for the next read
KEPT = 4


class Select:
    """One statement with at most one parameter, `value`."""

    __slots__ = ("_decoders", "_names", "_prepared")

    def __init__(self, statement: Any, dialect: Dialect) -> None:
        self._prepared = Prepared(statement, dialect)
        names = [column.name for column in statement.selected_columns]
        self._names: Sequence[str] = names
        self._decoders = [name for name in names if name in JSON_COLUMNS]

    def rows(self, cursor: Any, value: str | None) -> list[Row]:
        """Run it."""
        self._prepared.execute(cursor, {"value": value})
        names, decoders = self._names, self._decoders
        found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        for row in found:
            for name in decoders:
                text = row[name]
                if text is not None:  # what is said of most steps is nothing
                    row[name] = json.loads(text) if text != "{}" else {}
        return found


class Selects:
    """The statements for one dialect."""

    def __init__(self, dialect: Dialect) -> None:
        value: Any = bindparam("value")
        self.build = Select(BUILD.where(builds.c.id == value), dialect)
        # spelled as in the index of schema.py, or SQLite would not use it
        unfinished = text("builds.status NOT IN ('complete', 'rolled_back')")
        self.unfinished = Select(BUILD.where(unfinished), dialect)
        self.owner = Select(select(owners).where(owners.c.id == value), dialect)
        self.by_request = Select(BUILD.where(builds.c.request_id == value), dialect)
        self.effects = Select(
            select(effects).where(effects.c.build == value).order_by(effects.c.ordinal), dialect
        )
        self.history = Select(
            select(history).where(history.c.build == value).order_by(history.c.id), dialect
        )
        self.flows = Select(select(flow_details).where(flow_details.c.build == value), dialect)
        self.atoms = Select(select(atoms).where(atoms.c.flow == value), dialect)


class Reads:
    """Connections for one database, for any thread.

    `connect` opens a raw connection on which each statement stands alone; `lost` tells whether an
    error means that the connection has gone, so that another one is worth a try.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        translate: Callable[[Exception], StoreError],
        lost: Callable[[Exception], bool],
    ) -> None:
        self._connect, self._translate, self._lost = connect, translate, lost
        self._idle: list[Any] = []
        self._lock = threading.Lock()

    def run(self, what: Select, value: str | None) -> list[Row]:
        """The rows of `what`. Raises StoreError."""
        again = True
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            kept = connection is not None
            try:
                if connection is None:
                    connection = self._connect()
                cursor = connection.cursor()
                rows = what.rows(cursor, value)
                cursor.close()
            except Exception as error:
                if connection is not None:
                    _close(connection)
                if kept and again and self._lost(error):
                    again = False
                    self.close()
                    continue
                raise self._translate(error) from error
            with self._lock:
                if len(self._idle) < KEPT:
                    self._idle.append(connection)
                    connection = None
            if connection is not None:
                _close(connection)
            return rows

    def close(self) -> None:
        """Close what is kept."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            _close(connection)


def _close(connection: Any) -> None:
    with contextlib.suppress(Exception):  # it is broken; closing is a courtesy
        connection.close()


def decode(row: Mapping[str, Any]) -> Row:
    """A row with its JSON columns decoded."""
    return {
        name: json.loads(value) if name in JSON_COLUMNS and value is not None else value
        for name, value in row.items()
    }


def encode(row: Mapping[str, Any], names: Iterable[str] = JSON_COLUMNS) -> Row:
    """A row with its JSON columns as text."""
    return {
        name: json.dumps(value, sort_keys=True) if name in names and value is not None else value
        for name, value in row.items()
    }
