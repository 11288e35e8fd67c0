"""Processes that know the libraries and nothing of the product: a fork of one is as good as new.

To import the libraries takes longer than most of what is done then, so that it is done once. A
nursery is a program of its own: it reads requests, one JSON document a line, has each worked on by
a fork of itself, and writes the answers.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from tests.faults.planted import work
from tests.faults.planted.mistake import Mistake

_REPOSITORY = Path(__file__).parents[3]
# what the product and the kit import; one that is missing here costs time and nothing else
_LIBRARIES = (
    "alembic", "alembic.config", "lxml.etree", "networkx", "oslo_utils.strutils",
    "oslo_utils.imageutils.format_inspector", "psutil", "pydantic", "sqlalchemy",
    "sqlalchemy.dialects.postgresql", "sqlalchemy.dialects.sqlite", "stevedore",
    "taskflow.engines.action_engine.engine", "taskflow.patterns.graph_flow",
    "taskflow.patterns.linear_flow", "taskflow.patterns.unordered_flow",
    "taskflow.persistence.backends.impl_memory", "taskflow.retry", "tenacity", "transitions",
)  # fmt: skip
# a piece of work that takes longer hangs
PATIENCE_S = 300.0


class Nursery:
    """One such program, for one piece of work at a time. A context manager."""

    def __init__(self) -> None:
        self._program = subprocess.Popen(
            [sys.executable, "-m", __spec__.name],
            cwd=_REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._program.stdin is not None
        self._program.stdin.close()
        self._program.wait()

    def explore(self, mistake: Mistake) -> dict[str, Any]:
        """See work.py; an `error` in the answer says that it could not be done."""
        return self._ask({"do": "explore", "mistake": asdict(mistake)})

    def replay(self, mistake: Mistake | None, token: str, plan: list[list[Any]]) -> dict[str, Any]:
        """See work.py and `explore`."""
        planted = None if mistake is None else asdict(mistake)
        return self._ask({"do": "replay", "mistake": planted, "token": token, "plan": plan})

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.stdin.write(json.dumps(request) + "\n")
        self._program.stdin.flush()
        line = self._program.stdout.readline()
        if not line:
            raise RuntimeError("the nursery has ended; what it wrote before says why")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _serve(requests: IO[str], answers: int) -> None:
    for name in _LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    early = sorted(name for name in sys.modules if name.partition(".")[0] == "buildflow")
    if early:
        raise RuntimeError(f"{early[0]} was imported before any mistake could be planted in it")
    for line in requests:
        os.write(answers, (json.dumps(_in_a_fork(json.loads(line))) + "\n").encode())


def _in_a_fork(request: dict[str, Any]) -> dict[str, Any]:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()  # it may have children of its own
        os.close(reader)
        try:
            data = json.dumps(_answer(request)).encode()
            while data:
                data = data[os.write(writer, data) :]
        finally:
            os._exit(0)
    os.close(writer)
    data, deadline = b"", time.monotonic() + PATIENCE_S
    while select.select([reader], [], [], max(deadline - time.monotonic(), 0))[0]:
        part = os.read(reader, 1 << 16)
        if not part:
            break
        data += part
    else:
        data = json.dumps({"error": f"no answer within {PATIENCE_S:g} s"}).encode()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.close(reader)
    os.waitpid(child, 0)
    answer: dict[str, Any] = json.loads(data or b'{"error": "the process died"}')
    return answer


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    planted = request["mistake"]
    mistake = None
    if planted is not None:
        mistake = Mistake(**{**planted, "kinds": tuple(planted["kinds"])})
    try:
        if request["do"] == "explore":
            assert mistake is not None
            return work.explore(mistake)
        return work.replay(mistake, request["token"], request["plan"])
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    # what the product prints goes where its errors go: this stream is for answers alone
    _answers = os.dup(1)
    os.dup2(2, 1)
    with contextlib.suppress(KeyboardInterrupt):
        _serve(sys.stdin, _answers)
