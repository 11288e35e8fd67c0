"""A transaction on the shared store that waits for a database server which is being restarted.

What is done in one must be safe to do again: when the answer to a commit is lost, it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from buildflow.engine.journal import PATIENCE_S
from buildflow.engine.store import Store

Result = TypeVar("Result")


def transact(
    store: Store, work: Callable[[Connection], Result], *, patience_s: float = PATIENCE_S
) -> Result:
    """What `work` returns, committed. Raises StoreError."""
    end = time.monotonic() + patience_s
    pause = 0.1
    while True:
        try:
            with store.engine.begin() as connection:
                return work(connection)
        except SQLAlchemyError as error:
            if not _gone(store, error) or time.monotonic() >= end:
                raise store.translate(error) from error
        time.sleep(pause)
        pause = min(2 * pause, 2.0)


def _gone(store: Store, error: SQLAlchemyError) -> bool:
    """Whether the server has gone, and may come back. A file does not come back by waiting."""
    if store.engine.dialect.name == "sqlite" or not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or isinstance(error, (OperationalError, InterfaceError))
