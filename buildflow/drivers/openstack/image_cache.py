"""Files on this host, each downloaded once, whole or not there, for all builds and processes.

A download is written aside (`.ID.part.FORMAT`) under a lock of its own and renamed when its size
and checksum are right and it has been inspected. One that breaks off goes on where it stopped; one
that fails in the end is removed. What a killed process left is taken up by whoever wants that image
next, and removed when another image is wanted.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests
import urllib3

from buildflow.drivers.protocols import Pause
from buildflow.errors import DriverError, Exhausted, Refused

ATTEMPTS: Final = 5
"""Downloads in a row that may break off without a single byte."""

_CHUNK: Final = 1 << 18
_LOCK_POLL_S: Final = 0.1
_BREATH_S: Final = 0.1
BROKEN: Final = (requests.exceptions.RequestException, urllib3.exceptions.HTTPError)
"""What reading a body raises when the connection breaks."""

# opens a stream of the image's bytes from an offset: a requests.Response, its body unread
Open = Callable[[int], Any]


@dataclass(frozen=True, slots=True)
class Checksum:
    """What the bytes must hash to, in hexadecimal."""

    algorithm: str
    value: str


class ImageCache:
    """The cache in one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, id: str, format: str) -> Path:
        """Where the image is once it is complete."""
        return self._directory / f"{id}.{format}"

    @contextmanager
    def entry(self, id: str, format: str, pause: Pause) -> Iterator[Entry]:
        """The image's place in the cache, held against all others; waits for whoever has it."""
        self._directory.mkdir(parents=True, exist_ok=True)
        with (self._directory / f".{id}.lock").open("a") as lock:
            while not _locked(lock):
                pause(_LOCK_POLL_S)
            self._remove_orphans(id)
            yield Entry(self.path(id, format), self._directory / f".{id}.part.{format}", pause)

    def _remove_orphans(self, mine: str) -> None:
        """Remove downloads of other images that nobody is at work on any more."""
        for part in self._directory.glob(".*.part.*"):
            other = part.name[1:].partition(".part.")[0]
            if other == mine:
                continue
            with (self._directory / f".{other}.lock").open("a") as lock:
                if _locked(lock):
                    part.unlink(missing_ok=True)


class Entry:
    """One image's place in the cache, while it is held."""

    def __init__(self, path: Path, part: Path, pause: Pause) -> None:
        self.path = path
        self._part = part
        self._pause = pause

    def is_complete(self, size: int | None) -> bool:
        """Whether the file is there. One of another size was changed by someone: it goes."""
        if not self.path.exists():
            return False
        if size is not None and self.path.stat().st_size != size:
            self.path.unlink()
            return False
        return True

    def fill(
        self,
        open_from: Open,
        *,
        size: int | None,
        checksum: Checksum | None,
        accept: Callable[[Path], object],
        what: str,
    ) -> None:
        """Download it. `accept` sees the whole file before anyone else and may raise.

        Raises DriverError when the download breaks off `ATTEMPTS` times in a row or its bytes are
        not what Glance says, Exhausted when the disk is full. Then nothing is left.
        """
        try:
            resumed = self._part.exists()
            self._download(open_from, size, what)
            if resumed and not self._is_right(size, checksum):
                self._part.unlink()  # what the killed process had left was no beginning of it
                self._download(open_from, size, what)
            if not self._is_right(size, checksum):
                raise DriverError(
                    f"{what} arrived damaged: size or {checksum.algorithm if checksum else 'size'}"
                    " is not what Glance says",
                    driver="image",
                )
            accept(self._part)
            self._part.replace(self.path)
        except OSError as error:
            self._part.unlink(missing_ok=True)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise Exhausted(f"no room for {what}: {error.strerror}", driver="image") from None
            raise Refused(f"cannot keep {what}: {error}", driver="image") from None
        except BaseException:
            self._part.unlink(missing_ok=True)
            raise

    def _download(self, open_from: Open, size: int | None, what: str) -> None:
        barren = 0
        while True:
            had = self._part.stat().st_size if self._part.exists() else 0
            if size is not None and had == size:
                return
            try:
                self._append(open_from, had)
                if size is None:
                    return
                reason = "the connection was closed"
            except BROKEN as error:
                reason = " ".join(str(error).split())
            has = self._part.stat().st_size if self._part.exists() else 0
            if size is not None and has == size:
                return
            barren = 0 if has > had else barren + 1
            if barren >= ATTEMPTS:
                raise DriverError(
                    f"the download of {what} broke off at {has} of {size} bytes, {ATTEMPTS} times"
                    f" in a row: {reason}",
                    driver="image",
                )
            self._pause(min(0.1 * 2**barren, 2.0))

    def _append(self, open_from: Open, offset: int) -> None:
        answer = open_from(offset)
        try:
            # a server that knows no ranges answers 200 and sends all from the beginning; 416 says
            # that there is nothing after `offset`, so that what is here is no beginning of it
            mode = "ab" if answer.status_code == 206 and _begins_at(answer, offset) else "wb"
            with self._part.open(mode) as file:
                breath = time.monotonic()
                for chunk in answer.iter_content(_CHUNK) if answer.status_code != 416 else ():
                    file.write(chunk)
                    if time.monotonic() - breath >= _BREATH_S:
                        self._pause(0.0)
                        breath = time.monotonic()
                file.flush()
                os.fsync(file.fileno())
        finally:
            answer.close()

    def _is_right(self, size: int | None, checksum: Checksum | None) -> bool:
        if size is not None and self._part.stat().st_size != size:
            return False
        if checksum is None or checksum.algorithm not in hashlib.algorithms_available:
            return True
        digest = hashlib.new(checksum.algorithm, usedforsecurity=False)
        with self._part.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
                self._pause(0.0)
        return digest.hexdigest() == checksum.value.lower()


def _begins_at(answer: Any, offset: int) -> bool:
    return str(answer.headers.get("Content-Range", "")).startswith(f"bytes {offset}-")


def _locked(file: Any) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True
