"""A store in memory, for exploration: the real schema, the real statements, the real fences.

SQLite keeps a database in memory for one connection, so that readers and the journal share one
here. A forked process has a database of its own from then on, which is what exploration lives on.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import StaticPool

from buildflow.engine.store import Store


class MemoryStore(Store):
    """A Store that is gone with its process. For one thread at a time."""

    def __init__(self) -> None:
        self._shared = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        super().__init__("sqlite:///:memory:", synchronous="OFF")

    def _make_engine(self) -> Engine:
        self._shared.execute("PRAGMA foreign_keys=ON")
        return create_engine(self.url, creator=lambda: self._shared, poolclass=StaticPool)

    def rows(self) -> bytes:
        """All that it holds, for `restore`."""
        return self._shared.serialize()

    def restore(self, rows: bytes) -> None:
        """Hold exactly `rows` again."""
        if self._shared.in_transaction:
            self._shared.rollback()
        self._shared.deserialize(rows)

    def _writer(self) -> Any:
        return _Kept(self._shared)


class _Kept:
    """The shared connection as the journal's own, which it may throw away after an error."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.cursor = connection.cursor
        self.commit = connection.commit

    def close(self) -> None:
        """What was begun is undone, as when a connection is closed."""
        if self._connection.in_transaction:
            self._connection.rollback()
