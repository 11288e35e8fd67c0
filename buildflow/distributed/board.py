"""TaskFlow's jobboards behind one small face, with the expiry that they leave to the caller.

A job holds nothing but its build's id: what is to be built is in the store, secrets nowhere. What
is known of the board is read as a whole and worked off from memory, for TaskFlow asks the server
about each job that it passes: with 10,000 jobs a claim would cost 10,000 questions.
"""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections import deque
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from buildflow.distributed.board_error import board_error
from buildflow.distributed.board_url import board_conf
from buildflow.distributed.boards import open_board
from buildflow.errors import HostUnusable
from buildflow.redact import without_credentials

JOB_NAME: Final = "build"
# between a worker's name and what tells it from others of that name
_MARK: Final = "#"
# how old what is known of the board may be, in seconds, before it is read again
STALE_S: Final = 0.5
# a long board is read again less often: at most this part of the time goes into it, and into
# looking up what was read
READING_SHARE: Final = 0.1
# but never later than this: a conductor may have died
LONGEST_S: Final = 5.0
# conductors take jobs in their order, but not all of them the same one first
SHUFFLED: Final = 32


@dataclass(frozen=True, slots=True)
class Posting:
    """One job on the board."""

    build: str
    job: Any


class Board:
    """One jobboard, seen by one worker named `who`. `expiry_s` is how long a claim lasts unkept.

    Claims are this object's own: another process of the same name holds none of them.
    """

    def __init__(self, url: str, who: str, *, expiry_s: float = 10.0) -> None:
        self.url = without_credentials(url)
        self.kind, self._conf = board_conf(url)
        self.who, self.expiry_s = who, expiry_s
        self._claimer = f"{who}{_MARK}{secrets.token_hex(4)}"
        self._lock = threading.RLock()
        # apart from the other: keeping claims must not wait for a long reading
        self._reading = threading.Lock()
        self._board: Any = None
        self._known: deque[Any] = deque()
        self._read_at = float("-inf")
        self._spent_s = 0.0  # on the last reading, and on looking up what it gave

    # --- connection ------------------------------------------------------------------------------

    def _open(self) -> Any:
        with self._lock:
            if self._board is None:
                self._board = open_board(self.kind, self._conf, self.expiry_s)
            return self._board

    def _ask(self, question: Any) -> Any:
        """Ask the board; BoardUnusable when it does not answer, BoardRefused when it says no."""
        from taskflow import exceptions

        board = None
        try:
            board = self._open()
            return question(board)
        except (exceptions.NotFound, exceptions.UnclaimableJob):
            raise
        except Exception as error:
            if isinstance(error, exceptions.JobFailure) and "owned by" in str(error):
                raise
            if isinstance(error, HostUnusable):
                raise
            if board is not None:
                self._drop(board)
            raise board_error(self.url, error) from None

    def _drop(self, board: Any) -> None:
        """Forget a connection that failed; ZooKeeper's heals itself, and its session with it."""
        with self._lock:
            if self.kind == "zookeeper" or self._board is not board:
                return  # another thread was faster, and has a fresh one by now
            self._board = None
            self._known.clear()
            self._read_at = float("-inf")
        with suppress(Exception):
            board.release()

    def close(self) -> None:
        """Let go of the board."""
        with self._lock:
            board, self._board = self._board, None
        if board is not None:
            with suppress(Exception):
                board.release()

    # --- jobs --------------------------------------------------------------------------------

    def greet(self) -> None:
        """Ask the board something small. Raises BoardUnusable, BoardRefused."""
        self._ask(lambda board: board.greet())

    def post(self, build: str) -> None:
        """Put a build on the board. Raises BoardUnusable."""
        self._ask(lambda board: board.post(JOB_NAME, details={"build": build}))

    def next(self) -> Posting | None:
        """A job to try to claim, one of the oldest known; None when the board seems empty.

        However many jobs wait, those at its head are looked at again soon: they may be those of a
        conductor that has died.
        """
        with self._reading:
            wait = max(STALE_S, min(self._spent_s / READING_SHARE, LONGEST_S))
            if time.monotonic() >= self._read_at + wait:
                begun = time.monotonic()
                jobs = self._read()
                self._read_at = time.monotonic()
                self._spent_s = self._read_at - begun
                self._known = deque(_shuffled(jobs))
            while self._known:
                job = self._known.popleft()
                build = _build_of(job)
                if build is not None:
                    return Posting(build, job)
            return None

    def looked(self, seconds: float) -> None:
        """Say how long it took to look up some of what `next` gave: it is part of a reading."""
        with self._reading:
            self._spent_s += seconds

    def _read(self) -> list[Any]:
        jobs = self._ask(lambda board: list(_all_jobs(board)))
        return sorted(jobs, key=lambda job: job.sequence)

    def count(self) -> int:
        """How many jobs are on the board, without reading them."""
        return int(self._ask(lambda board: board.count_jobs()))

    def claim(self, posting: Posting) -> bool:
        """Try to be the one who works on it; False when somebody else is, or it is gone."""
        from taskflow import exceptions

        expiry = self.expiry_s

        def question(board: Any) -> None:
            _rebind(posting.job, board)
            if self.kind == "etcd" and board.find_owner(posting.job):
                # asked first, by one read: a claim that fails costs etcd two writes for its lease
                raise exceptions.UnclaimableJob("somebody has it")
            if self.kind == "zookeeper":
                board.claim(posting.job, self._claimer)
            else:
                # etcd counts whole seconds
                span = max(1, round(expiry)) if self.kind == "etcd" else expiry
                board.claim(posting.job, self._claimer, expiry=span)

        try:
            self._ask(question)
        except exceptions.UnclaimableJob:
            # it may be ours all the same: the answer to an earlier claim was lost, or that to its
            # end; nobody else can take it as long as we are asking
            return self._owner(posting.job) == self._claimer and self.extend(posting)
        except (exceptions.NotFound, exceptions.JobFailure):
            return False
        return True

    def extend(self, posting: Posting) -> bool:
        """Keep a claim; False when it is lost for sure. Raises BoardUnusable when nobody says."""
        from taskflow import exceptions

        try:
            if self.kind == "etcd":
                return bool(self._ask(lambda board: self._extend_lease(board, posting.job)))
            owner = self._ask(lambda board: _owner_of(board, posting.job))
            if owner != self._claimer or self.kind == "zookeeper":
                return bool(owner == self._claimer)  # there the session keeps it
            return bool(self._ask(lambda board: self._extend_expiry(board, posting.job)))
        except (exceptions.NotFound, exceptions.JobFailure):
            return False

    def _extend_expiry(self, board: Any, job: Any) -> bool:
        _rebind(job, board)
        return bool(job.extend_expiry(self.expiry_s))

    def _extend_lease(self, board: Any, job: Any) -> bool:
        """The lease of the claim as it is now: TaskFlow's job keeps that of its first claim."""
        from etcd3gw import Lease

        held = board.get_owner_data(job)
        if not held or held.get("owner") != self._claimer or "lease_id" not in held:
            return False
        return int(Lease(held["lease_id"], client=board._client).refresh()) > 0

    def consume(self, posting: Posting) -> None:
        """Take it off the board: its build has ended. One that is gone is no error."""
        from taskflow import exceptions

        try:
            self._ask(lambda board: board.consume(posting.job, self._claimer))
        except (exceptions.NotFound, exceptions.JobFailure):
            return  # the claim was lost: who has it now finds a build that has ended

    def abandon(self, posting: Posting) -> None:
        """Leave it to others. One that is gone, or another's by now, is no error."""
        from taskflow import exceptions

        try:
            self._ask(lambda board: board.abandon(posting.job, self._claimer))
        except (exceptions.NotFound, exceptions.JobFailure):
            return

    def posted(self) -> set[str]:
        """Every build on the board, without asking who has it."""
        return {build for job in self._read() if (build := _build_of(job)) is not None}

    def holders(self, builds: Collection[str]) -> dict[str, list[str]]:
        """For each of these builds the names of those who have claimed a job of it; most have one
        job.
        """
        claimers = self._claimers(builds)
        return {build: [_name(each) for each in found] for build, found in claimers.items()}

    def other_holder(self, build: str) -> str | None:
        """The name of somebody else who has claimed a job of a build."""
        claimers = self._claimers({build}).get(build, [])
        return next((_name(each) for each in claimers if each != self._claimer), None)

    def _claimers(self, builds: Collection[str]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for job in self._read():
            build = _build_of(job)
            if build is not None and build in builds:
                owner = self._owner(job)
                if owner is not None:
                    found.setdefault(build, []).append(owner)
        return found

    def _owner(self, job: Any) -> str | None:
        from taskflow import exceptions

        try:
            owner = self._ask(lambda board: _owner_of(board, job))
        except (exceptions.NotFound, exceptions.JobFailure):
            return None
        return str(owner) if owner else None


def _name(claimer: str) -> str:
    name, token, _ = claimer.rpartition(_MARK)
    return name if token else claimer


def _owner_of(board: Any, job: Any) -> Any:
    try:
        return board.find_owner(job)
    except TypeError:  # redis decodes what is not there
        return None


def _rebind(job: Any, board: Any) -> None:
    """TaskFlow's job keeps the connection that it was read by, which may be closed by now."""
    if job._client is not board._client:
        job._board, job._client = board, board._client


def _build_of(job: Any) -> str | None:
    build = (job.details or {}).get("build")
    return build if isinstance(build, str) else None


def _shuffled(jobs: list[Any]) -> list[Any]:
    """In their order by blocks, and within a block in none."""
    blocks = [jobs[i : i + SHUFFLED] for i in range(0, len(jobs), SHUFFLED)]
    for block in blocks:
        random.shuffle(block)
    return [job for block in blocks for job in block]


def _all_jobs(board: Any) -> Any:
    """The board's jobs as one reading gives them; its iterator would ask about each."""
    fetch = board._fetch_jobs
    try:
        return fetch(ensure_fresh=True)
    except TypeError:  # redis reads afresh each time
        return fetch()
