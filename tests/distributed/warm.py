"""`buildflow` as processes of its own that start warm: forks of one that has imported everything.

    python -m tests.distributed.warm        the process that forks; its commands come on stdin

A start costs a few milliseconds instead of more than a second of processor. A fork runs what
`python -m buildflow` runs: `main`, on arguments, environment and files of its own. A process that
must be seen by its command line is started cold.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.lab.directories import REPOSITORY

# what a conductor or a verb imports sooner or later
_EVERYTHING = (
    "buildflow.cli.application", "buildflow.distributed.cli", "buildflow.distributed.conductor",
    "buildflow.distributed.boards.redis", "buildflow.distributed.boards.etcd",
    "buildflow.distributed.boards.zookeeper", "buildflow.drivers.simulated.factory",
    "buildflow.flows.build", "buildflow.cli.inspect", "buildflow.cli.delete", "psycopg",
    "prometheus_client", "opentelemetry.trace", "rich.table", "taskflow.engines",
    "sqlalchemy.dialects.postgresql.psycopg", "taskflow.engines.action_engine.engine",
)  # fmt: skip


class WarmProcess:
    """One fork, with what the tests use of subprocess.Popen."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = threading.Event()

    def end(self, code: int) -> None:
        """It has ended, with this code; minus the signal's number when one ended it."""
        self.returncode = code
        self._ended.set()

    def poll(self) -> int | None:
        """Its code, None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its code, once it has ended. Raises subprocess.TimeoutExpired."""
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired(f"pid {self.pid}", timeout or 0.0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)


class Warm:
    """The process that forks, seen from the tests. Use it as a context manager."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._forker = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "tests.distributed.warm"],
                env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
                cwd=REPOSITORY,
                stdin=theirs.fileno(),
            )
        self._socket = ours
        self._lock = threading.Lock()
        self._started = threading.Condition()
        self._new: list[int] = []
        self._processes: dict[int, WarmProcess] = {}
        threading.Thread(target=self._listen, daemon=True).start()

    def start(self, words: Sequence[str], environment: Mapping[str, str], log: Path) -> WarmProcess:
        """`buildflow WORDS`; what it writes is added to `log`."""
        return self._start(words, environment, log, log)

    def run(
        self, words: Sequence[str], environment: Mapping[str, str], directory: Path
    ) -> tuple[int, str, str]:
        """Its exit code, stdout and stderr."""
        number = time.monotonic_ns()
        out, err = (directory / f"{number}.{name}" for name in ("out", "err"))
        code = self._start(words, environment, out, err).wait(120)
        said = out.read_text(), err.read_text()
        out.unlink()
        err.unlink()
        return code, *said

    def _start(
        self, words: Sequence[str], environment: Mapping[str, str], out: Path, err: Path
    ) -> WarmProcess:
        order = {"words": words, "env": dict(environment), "out": str(out), "err": str(err)}
        with self._lock:
            self._socket.sendall(json.dumps(order).encode() + b"\n")
            with self._started:
                assert self._started.wait_for(lambda: self._new, 60), "the warm process is gone"
                return self._processes[self._new.pop()]

    def _listen(self) -> None:
        for line in self._socket.makefile():
            told = json.loads(line)
            if "started" in told:
                with self._started:
                    self._processes[told["started"]] = WarmProcess(told["started"])
                    self._new.append(told["started"])
                    self._started.notify_all()
            else:
                self._processes.pop(told["ended"]).end(told["code"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._forker.wait(30)
        self._socket.close()


def serve(tests: socket.socket) -> None:
    """Fork for every line that comes, and say which forks have ended, until the tests go."""
    import importlib

    for name in _EVERYTHING:
        importlib.import_module(name)
    tests.settimeout(0.02)
    waiting = b""
    while True:
        try:
            read = tests.recv(65536)
        except TimeoutError:
            read = None
        if read == b"":
            return
        *orders, waiting = (waiting + (read or b"")).split(b"\n")
        for order in orders:
            _fork(tests, json.loads(order))
        _reap(tests)


def _fork(tests: socket.socket, order: Any) -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(_run(tests, order))
    _tell(tests, {"started": pid})


def _reap(tests: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _tell(tests, {"ended": pid, "code": os.waitstatus_to_exitcode(status)})


def _tell(tests: socket.socket, words: Any) -> None:
    tests.sendall(json.dumps(words).encode() + b"\n")


def _run(tests: socket.socket, order: Any) -> int:
    from buildflow.cli.main import main

    code = 70
    try:
        tests.close()
        for number, path in ((0, "/dev/null"), (1, order["out"]), (2, order["err"])):
            flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_APPEND | os.O_CREAT
            opened = os.open(path, flags, 0o644)
            os.dup2(opened, number)
            os.close(opened)
        os.environ.clear()
        os.environ.update(order["env"])
        code = main(order["words"])
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        threading._shutdown()  # type: ignore[attr-defined]  # as an interpreter that ends
    return code


if __name__ == "__main__":
    serve(socket.socket(fileno=os.dup(0)))
