"""A program for tests: one engine that builds three files with the request id `life`.

    python -m tests.engine.life HOME plain|deaf|sleepy|cancels

`deaf` never looks for stop requests; `sleepy` stops itself (SIGSTOP) between the commit of the
second file's intent and its effect. `cancels` cancels the build called x instead. It exits with
7 when it lost the build to another process.
"""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import Any

from buildflow.config import Settings
from buildflow.engine.core import Engine
from buildflow.errors import StaleOwner
from tests.engine import files


def main(home: Path, how: str) -> int:
    """See the module."""
    engine = Engine(
        Settings(home=home, undo_timeout_s=0.5),
        home / "files",
        watch_s=None if how in ("deaf", "sleepy") else 0.2,
    )
    if how == "sleepy":

        def on_commit(when: str, unit: Any) -> None:
            staged = [row for _, rows in unit.many for row in rows]
            if when == "after" and any(
                row.get("step") == "b" and row.get("state") == "intent" for row in staged
            ):
                files.note(home / "files", "asleep")
                # to this thread: sent to the process it would be taken by another one, and this
                # one would run on, at worst into the middle of a commit, where it holds the lock
                signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)

        engine.store.journal.on_commit = on_commit
    with engine:
        if how == "cancels":
            return 0 if engine.cancel("x") else 1
        try:
            engine.run(files.three, request_id="life").wait()
        except StaleOwner:
            return 7
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
