"""Real processes that die: a function in a forked child, and a SIGKILL at a counted instant.

The parent stays warm (everything imported, every statement compiled), so that a death and a resume
cost some tens of milliseconds and thousands of them can be tried.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

KILLED = {"killed": True}


def in_child(body: Callable[[], Any]) -> Any:
    """What `body` returned (JSON) in a process of its own; KILLED when a SIGKILL ended it."""
    read_end, write_end = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.close(read_end)
        try:
            answer = json.dumps({"value": body()})
        except BaseException:
            answer = json.dumps({"error": traceback.format_exc()})
        with os.fdopen(write_end, "w") as pipe:
            pipe.write(answer)
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        answer = pipe.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        if os.WTERMSIG(status) != signal.SIGKILL:
            raise AssertionError(f"the child died of signal {os.WTERMSIG(status)}")
        return KILLED
    found = json.loads(answer)
    if "error" in found:
        raise AssertionError(found["error"])
    return found["value"]


def spread(cases: Sequence[Any], judge: Callable[[Any], str | None], workers: int = 2) -> list[str]:
    """Judge all `cases` in `workers` processes; what was wrong with each that failed."""

    def share(number: int) -> list[str]:
        complaints = []
        for case in cases[number::workers]:
            try:
                complaint = judge(case)
            except BaseException:
                complaint = traceback.format_exc()
            if complaint is not None:
                complaints.append(f"{case}: {complaint}")
        return complaints

    pipes = []
    for number in range(workers):
        read_end, write_end = os.pipe()
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            os.close(read_end)
            with os.fdopen(write_end, "w") as pipe:
                json.dump(share(number), pipe)
            os._exit(0)
        os.close(write_end)
        pipes.append((pid, read_end))
    complaints: list[str] = []
    for pid, read_end in pipes:
        with os.fdopen(read_end) as pipe:
            complaints += json.loads(pipe.read() or '["a worker died"]')
        os.waitpid(pid, 0)
    return complaints


@dataclass
class Instants:
    """Counts the instants that a run passes, and ends the process at the `kill_at`-th.

    An instant lies before and after every store commit, after every effect, before and after every
    undo, and at the beginning of every step and of every revert.

    Where steps overlap, how many commits there are and which is the n-th is chance; what is
    committed is not. There `kill_at` is one of `names`: `before commit of port:0 intent`.
    """

    kill_at: int | str | None = None
    wanted: frozenset[str] = frozenset({"made", "undo", "undone"})
    passed: list[str] = field(default_factory=list)
    names: dict[str, None] = field(default_factory=dict)

    def on_commit(self, when: str, unit: Any) -> None:
        """For Journal.on_commit."""
        self._pass(f"{when} commit {unit.seq}", [f"{when} commit of {x}" for x in _written(unit)])

    def point(self, where: str, subject: str, run: Any) -> None:
        """For Engine(points=...)."""
        if where in self.wanted:
            self._pass(f"{where} {subject}", [f"{where} {subject}"])

    def _pass(self, instant: str, names: list[str]) -> None:
        self.passed.append(instant)
        self.names.update(dict.fromkeys(names))
        if len(self.passed) == self.kill_at or self.kill_at in names:
            os.kill(os.getpid(), signal.SIGKILL)


def _written(unit: Any) -> Iterator[str]:
    """What a commit writes that nothing else does: effects, moves and statuses."""
    if unit.new is not None:
        yield "the build"
    for _, rows in unit.many:
        for row in rows:
            if "trigger" in row:
                yield f"{row['trigger']} in {row['step']}"
            elif "ordinal" in row:
                yield f"{row['step']} {row['state']}"
            elif "status" in row:
                yield f"{row['status']}"


def numbered(count: int) -> Sequence[int]:
    """The instants of a run that passed `count` of them."""
    return range(1, count + 1)
