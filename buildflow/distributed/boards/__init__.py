"""TaskFlow's three jobboards, told to read when they are asked and to answer soon.

Each has `greet`, `count_jobs` and `release` besides what TaskFlow's have. A module a kind, for a
process has only the client libraries of the one that it uses.
"""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from typing import Any

from buildflow.errors import HostUnusable


def open_board(kind: str, conf: dict[str, Any], expiry_s: float) -> Any:
    """A connected jobboard of this kind (board_url.py has the kinds and their `conf`).

    `expiry_s` is a ZooKeeper session's; the others' claims have one of their own. Raises what the
    client library raises when the server does not answer, HostUnusable without that library.
    """
    try:
        module = import_module(f"buildflow.distributed.boards.{kind}")
    except ImportError as error:
        raise HostUnusable(
            f"a jobboard on {kind} needs {error.name}: `pip install 'buildflow-vm[{kind}]'`"
        ) from error
    board = module.make(conf, expiry_s)
    try:
        board.connect()
    except BaseException:
        with suppress(Exception):
            board.release()
        raise
    return board
