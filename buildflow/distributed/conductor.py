"""A conductor: takes jobs from a board and carries their builds out, until it is told to stop.

Follows TaskFlow's conductors, with the guards that those lack (tests/distributed):

* a claim has an expiry, and a thread of its own keeps it, at a quarter of the expiry, however long
  a step takes; a claim that is lost ends the run at its next safe point, leaving the build to its
  new owner, and the store's epoch refuses whatever came too late;
* a job is consumed only once its build's row says that it has ended, never because a flow failed;
* a job that can't be carried out here backs off, and stands aside after a limit: never dropped;
* a board that lost its jobs (restarted without persistence) is given them again from the store.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from buildflow.api import VmEngine
from buildflow.distributed.board import Board, BoardUnusable, Posting
from buildflow.distributed.capacity import DOWN, Capacity, HostRow
from buildflow.distributed.jobs import Jobs
from buildflow.distributed.metrics import Metrics
from buildflow.distributed.redact import text_without_credentials
from buildflow.engine.run import LOST
from buildflow.engine.store import ENDED, Row
from buildflow.errors import BadInput, BuildflowError, HostUnusable, StaleOwner, StoreError

LOG: Final = logging.getLogger(__name__)
IDLE_S: Final = 0.1


@dataclass(slots=True)
class _Work:
    posting: Posting
    lost: bool = False


class Conductor:
    """One process's conductor over `engine`, whose world says which hosts it serves.

    `expiry_s`: how long after this process died others may take its builds over. `on_event` is told
    a line about each claim, end and loss.
    """

    def __init__(
        self,
        engine: VmEngine,
        board: Board,
        *,
        hosts: list[HostRow] | None = None,
        max_builds: int = 10,
        metrics: Metrics | None = None,
        on_event: Callable[[str], None] | None = None,
    ) -> None:
        self.engine, self.board = engine, board
        self.jobs = Jobs(engine.store, engine.clock)
        self.capacity = Capacity(engine.store, engine.clock)
        self.hosts = list(hosts or ())
        self.max_builds = max_builds
        self.metrics = metrics or Metrics()
        self._on_event = on_event or (lambda _line: None)
        self._pool = ThreadPoolExecutor(max_builds, thread_name_prefix="conduct")
        self._work: dict[str, _Work] = {}
        self._lock = threading.Lock()
        self._draining = threading.Event()
        self._handing_over = threading.Event()
        self._stopped = threading.Event()
        self._free = threading.Semaphore(max_builds)

    # --- the loop --------------------------------------------------------------------------------

    def run(self) -> None:
        """Take jobs until `drain` or `hand_over` is called and the last build has ended here."""
        self._offer_hosts()
        keeper = threading.Thread(target=self._keep_claims, name="keep claims", daemon=True)
        keeper.start()
        try:
            while not self._draining.is_set():
                if not self._take_one():
                    self._draining.wait(IDLE_S)
            self._await_work()
        finally:
            self._stopped.set()
            self._pool.shutdown(wait=True)
            keeper.join()
            self.board.close()

    def drain(self) -> None:
        """Claim nothing more; `run` returns when what runs here has ended. Again: hand over."""
        if self._draining.is_set():
            self.hand_over()
        self._draining.set()

    def hand_over(self) -> None:
        """Leave what runs here at its next safe point, for others to go on with at once."""
        self._draining.set()
        self._handing_over.set()
        with self._lock:
            running = list(self._work)
        for build in running:
            self._let_go(build)

    def _await_work(self) -> None:
        while True:
            with self._lock:
                if not self._work:
                    return
            time.sleep(IDLE_S)

    def _take_one(self) -> bool:
        """Claim one job and start it; False when there is none for us now."""
        if not self._free.acquire(blocking=False):
            return False
        taken = False
        try:
            posting = self.board.next()
            if posting is not None:
                taken = self._try(posting)
            return taken or posting is not None
        except BoardUnusable as error:
            self._event(error.summary)
            self._draining.wait(1.0)
            return False
        except StoreError as error:
            self._event(error.summary)
            self._draining.wait(1.0)
            return False
        finally:
            if not taken:
                self._free.release()

    def _try(self, posting: Posting) -> bool:
        build = posting.build
        with self._lock:
            if build in self._work:
                return False
        row = self.engine.store.build(build)
        if not self._wanted(build, row):
            return False
        if not self.board.claim(posting):
            return False
        work = _Work(posting)
        with self._lock:
            self._work[build] = work
        self.metrics.claimed()
        self._pool.submit(self._carry, work)
        return True

    def _wanted(self, build: str, row: Row | None) -> bool:
        """Whether a job is ours to try now: not one that waits, nor one on a host of others."""
        if row is None or row["status"] in ENDED:
            return True  # to be taken off the board
        if self.jobs.must_wait(self.jobs.row(build)):
            return False
        host = row["host"]
        return host is None or host in self.engine.world.computes

    # --- one build -------------------------------------------------------------------------------

    def _carry(self, work: _Work) -> None:
        build = work.posting.build
        try:
            self._carry_out(work)
        except BaseException as error:
            LOG.exception("build %s", build)
            self._event(f"{build}: {text_without_credentials(repr(error))}")
        finally:
            with self._lock:
                self._work.pop(build, None)
            self._free.release()

    def _carry_out(self, work: _Work) -> None:
        build = work.posting.build
        started = time.monotonic()
        row = self.engine.store.build(build)
        if row is None:
            self._event(f"{build}: its job names no build of this store; taken off the board")
            self.board.consume(work.posting)
            return
        try:
            if row["status"] not in ENDED:
                self._event(f"{row['name'] or build}: claimed by {self.board.who}")
                self.engine.carry_out(build, take_over=True)
        except StaleOwner as error:
            self.metrics.lost()
            self._event(f"{row['name'] or build}: {error.summary}")
            self._give_back(work)
            return
        except (BadInput, BuildflowError) as error:
            self._set_back(work, error)
            return
        ended = self.engine.store.build(build)
        if ended is None or ended["status"] not in ENDED:
            self._give_back(work)
            return
        self.metrics.ended(ended["status"], time.monotonic() - started)
        self._event(f"{row['name'] or build}: {ended['status']}")
        self._patiently(lambda: self.board.consume(work.posting))
        self.jobs.forget(build)

    def _give_back(self, work: _Work) -> None:
        """The build goes on elsewhere: the claim, if we still hold it, is given up."""
        if not work.lost:
            self._patiently(lambda: self.board.abandon(work.posting))

    def _set_back(self, work: _Work, error: BuildflowError) -> None:
        build = work.posting.build
        reason = text_without_credentials(error.summary)
        if isinstance(error, HostUnusable):
            self._doubt_host(build, reason)
        try:
            aside = self.jobs.failed(build, reason)
        except StoreError:
            aside = False
        told = "set aside" if aside else "to be tried again"
        self._event(f"{build}: {reason}; {told}")
        if aside:
            self.metrics.set_aside()
            self._patiently(lambda: self.board.consume(work.posting))
        else:
            self._give_back(work)

    def _doubt_host(self, build: str, reason: str) -> None:
        row = self.engine.store.build(build)
        if row is not None and row["host"] is not None:
            self.capacity.mark(row["host"], DOWN, reason)

    def _patiently(self, act: Callable[[], None], seconds: float = 30.0) -> None:
        """Do something on the board, which may be away for a moment."""
        end = time.monotonic() + seconds
        while True:
            try:
                act()
            except BoardUnusable:
                if time.monotonic() >= end:
                    return  # the claim expires by itself, and who finds the job sees that it ended
                time.sleep(0.5)
            else:
                return

    # --- claims --------------------------------------------------------------------------------

    def _keep_claims(self) -> None:
        """Extend every claim at a quarter of its expiry; offer the hosts and mend the board."""
        period = self.board.expiry_s / 4
        mended = time.monotonic()
        while not self._stopped.wait(period):
            with self._lock:
                works = list(self._work.values())
            for work in works:
                self._keep(work)
            self.metrics.running(len(works))
            if time.monotonic() - mended >= self.board.expiry_s:
                mended = time.monotonic()
                self._mend()

    def _keep(self, work: _Work) -> None:
        try:
            kept = self.board.extend(work.posting)
        except BoardUnusable:
            return  # nobody knows; the epoch decides if it comes to that
        if not kept and not work.lost:
            with self._lock:
                still = self._work.get(work.posting.build) is work
            if still:
                work.lost = True
                self.metrics.lost()
                self._event(f"{work.posting.build}: the claim is lost; left to its new owner")
                self._let_go(work.posting.build)

    def _let_go(self, build: str) -> None:
        run = self.engine.running(build)
        if run is not None:
            run.note_stop(LOST, "the claim on its job")

    def _mend(self) -> None:
        """Post again what the board has lost, and say that our hosts are there."""
        try:
            self._offer_hosts()
            self.metrics.queue(len(self.jobs.listed(limit=None)))
            for build in self.jobs.unposted(self.board.posted()):
                with self._lock:
                    ours = build in self._work
                if not ours:
                    self.board.post(build)
        except BuildflowError as error:
            self._event(error.summary)

    def _offer_hosts(self) -> None:
        for host in self.hosts:
            self.capacity.offer(host)

    def _event(self, line: str) -> None:
        self._on_event(line)
