"""A world kept in a file: one line a change, appended under a lock, read by every process.

It survives a SIGKILL of any writer at any instant: a change is one line, and a line is written
whole or is the last and torn. Readers stop at the last complete line; the next writer cuts a torn
one off. There is no fsync, for it is a process that gets killed here and not the machine.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any, Final

from buildflow.errors import HostUnusable

_CHUNK: Final = 1 << 20
HEADER: Final = b'["buildflow simulated world",1]\n'


class Journal:
    """See the module. One per process: a lock is the file description's, which a fork shares."""

    def __init__(self, path: Path) -> None:
        self._file: int | None = None
        self.path = path
        self._read_to = 0

    def lock(self) -> None:
        """Keep all other writers out."""
        fcntl.flock(self._open(), fcntl.LOCK_EX)

    def unlock(self) -> None:
        """Let them in."""
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def news(self, *, locked: bool) -> list[Any]:
        """The changes since the last call, ours among them. `locked` says that we hold the lock."""
        file = self._open()
        if os.fstat(file).st_size == self._read_to:
            return []
        if not locked:
            # else a writer might cut a torn line off, and write another, while we read it
            fcntl.flock(file, fcntl.LOCK_SH)
        try:
            data = self._tail(file)
        finally:
            if not locked:
                fcntl.flock(file, fcntl.LOCK_UN)
        whole = data.rfind(b"\n") + 1
        lines = data[:whole].split(b"\n")[:-1]
        if lines and self._read_to == 0:
            if lines[0] + b"\n" != HEADER:
                raise HostUnusable(f"{self.path} is not a simulated world")
            del lines[0]
        self._read_to += whole
        try:
            return [json.loads(line) for line in lines]
        except ValueError:
            raise HostUnusable(f"{self.path} is damaged: it holds a line that is no JSON") from None

    def _tail(self, file: int) -> bytes:
        if os.fstat(file).st_size < self._read_to:
            raise HostUnusable(f"{self.path} was cut short while it was in use")
        parts, at = [], self._read_to
        while part := os.pread(file, _CHUNK, at):
            parts.append(part)
            at += len(part)
        return b"".join(parts)

    def append(self, change: list[Any]) -> None:
        """Add a change; the caller holds the lock and has read the news."""
        file = self._open()
        if os.fstat(file).st_size > self._read_to:
            self._cut_torn_line(file)
        line = json.dumps(change, separators=(",", ":")).encode() + b"\n"
        if self._read_to == 0:
            line = HEADER + line
        try:
            written = 0
            while written < len(line):
                written += os.write(file, line[written:])
        except OSError as error:
            os.ftruncate(file, self._read_to)
            raise HostUnusable(f"cannot write {self.path}: {error.strerror}") from error
        self._read_to += len(line)

    def _cut_torn_line(self, file: int) -> None:
        """What a writer that was killed has left; but never a file that was no world of ours."""
        if self._read_to == 0 and not HEADER.startswith(os.pread(file, len(HEADER), 0)):
            raise HostUnusable(f"{self.path} is not a simulated world")
        os.ftruncate(file, self._read_to)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __del__(self) -> None:
        self.close()

    def reopen(self) -> None:
        """In a forked child: a description of our own, and everything read anew."""
        self.close()
        self._read_to = 0

    def _open(self) -> int:
        if self._file is None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(
                    self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
                )
            except OSError as error:
                raise HostUnusable(f"cannot open {self.path}: {error.strerror}") from error
        return self._file
