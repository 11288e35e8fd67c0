"""One contender in a process of its own: `python contenders.py NAME FOLDER`.

It says `ready`, then for each number on stdin runs so many flows and answers with the seconds that
they took. Imports nothing of what it is not.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")

Once = Callable[[], Any]


def ours(folder: Path) -> Once:
    """buildflow, as it is opened by default: SQLite, WAL, synchronous=FULL."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from bench.noops import eight
    from buildflow.config import Settings
    from buildflow.engine.core import Engine

    engine = Engine(Settings(home=folder))

    def once() -> None:
        shown = engine.run(eight).wait()
        assert shown["status"] == "complete", shown

    return once


def _taskflow_flow() -> Any:
    from taskflow import task
    from taskflow.patterns import linear_flow

    class Noop(task.Task):  # type: ignore[misc]
        def execute(self) -> int:
            return 1

    def flow() -> Any:
        return linear_flow.Flow("eight").add(*(Noop(f"step {n}") for n in range(8)))

    return flow


def taskflow_memory(folder: Path) -> Once:
    """TaskFlow as shipped, with its memory backend: nothing survives."""
    from taskflow import engines

    flow = _taskflow_flow()
    return lambda: engines.run(flow())


def taskflow_sqlite(folder: Path) -> Once:
    """TaskFlow as shipped, with its SQLAlchemy backend on a file."""
    import contextlib

    from taskflow import engines
    from taskflow.persistence import backends

    flow = _taskflow_flow()
    backend = backends.fetch({"connection": f"sqlite:///{folder / 'taskflow.sqlite'}"})
    with contextlib.closing(backend.get_connection()) as connection:
        connection.upgrade()
    return lambda: engines.run(flow(), backend=backend)


def dbos_sqlite(folder: Path) -> Once:
    """DBOS as shipped, on SQLite."""
    import logging

    from dbos import DBOS

    DBOS(
        config={
            "name": "bench",
            "system_database_url": f"sqlite:///{folder / 'dbos.sqlite'}",
            "run_admin_server": False,
            "log_level": "ERROR",
        }
    )

    @DBOS.step()
    def noop() -> int:
        return 1

    @DBOS.workflow()
    def eight() -> int:
        return sum(noop() for _ in range(8))

    DBOS.launch()
    logging.disable(logging.CRITICAL)

    def once() -> None:
        assert eight() == 8

    return once


def floor(folder: Path) -> Once:
    """Bare commits of one small row: what the disk gives to SQLite in WAL with synchronous=FULL."""
    import sqlite3

    connection = sqlite3.connect(folder / "floor.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT)")

    def once() -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO t (text) VALUES ('a small row')")
        connection.execute("COMMIT")

    return once


CONTENDERS = {
    each.__name__: each for each in (ours, taskflow_memory, taskflow_sqlite, dbos_sqlite, floor)
}


def main(name: str, folder: str) -> None:
    """See the module."""
    out = sys.stdout
    sys.stdout = sys.stderr  # whatever a library prints is no answer
    once = CONTENDERS[name](Path(folder))
    once()
    print("ready", file=out, flush=True)
    for line in sys.stdin:
        count = int(line)
        began = time.perf_counter()
        for _ in range(count):
            once()
        print(time.perf_counter() - began, file=out, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    import os

    os._exit(0)  # no contender is measured at its end
