"""A conductor: takes jobs from a board and carries their builds out, until it is told to stop.

Follows TaskFlow's conductors, with the guards that those lack (tests/distributed):

* a claim has an expiry, and a thread of its own keeps it, at a quarter of the expiry, however long
  a step takes; a claim that is lost ends the run at its next safe point, leaving the build to its
  new owner, and the store's epoch refuses whatever came too late;
* a job is consumed only once its build's row says that it has ended, never because a flow failed;
* a job that can't be carried out here backs off, and stands aside after a limit: never dropped;
* a board that lost its jobs (restarted without persistence) is given them again from the store;
* a build is taken over from an owner that seems to live only when no job of it is held any more.

What it takes: a build that has begun, when its host is ours; one that has not, when a host of ours
has room; and one that is to stop, when nobody serves its host any more.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Final

from buildflow.api import VmEngine
from buildflow.distributed.board import Board, Posting
from buildflow.distributed.board_error import BoardUnusable
from buildflow.distributed.capacity import OFFER_S, Capacity, HostRow
from buildflow.distributed.jobs import ASIDE, Jobs
from buildflow.distributed.metrics import Metrics
from buildflow.distributed.placement import choose
from buildflow.distributed.request import demand_of, intention_of
from buildflow.engine.clock import stamp
from buildflow.engine.guard import Intention
from buildflow.engine.run import LOST
from buildflow.engine.store import ENDED, Row
from buildflow.errors import BuildflowError, NoRoom, OutOfReach, StaleOwner, StoreError
from buildflow.redact import without_credentials

LOG: Final = logging.getLogger(__name__)
IDLE_S: Final = 0.1
# how often requests of processes without a jobboard are looked for
ASKED_S: Final = 1.0
FIRST_OFFER_S: Final = 10.0
# the pause after a board, a store or a job that could not be asked or taken
TROUBLED_S: Final = 1.0
# how many jobs are looked at together, and for how long that holds
AHEAD: Final = 32
AHEAD_S: Final = 0.5


@dataclass(slots=True)
class _Work:
    posting: Posting
    name: str  # the build's, for people
    lost: bool = False
    let_go: bool = False  # its claim is being given up, and not lost


class Conductor:
    """One process's conductor over `engine`, whose world says which hosts it serves, and has this
    very `capacity`.

    `board.expiry_s`: how long after this process died others may take its builds over. `hosts` are
    offered for new builds, those of `standby` are only served when they are needed. `on_event` is
    told a line about each claim, end and loss; `on_end` a build's id and status, None where it goes
    on elsewhere.
    """

    def __init__(
        self,
        engine: VmEngine,
        board: Board,
        capacity: Capacity,
        *,
        hosts: Sequence[HostRow] = (),
        standby: Sequence[str] = (),
        max_builds: int = 10,
        metrics: Metrics | None = None,
        on_event: Callable[[str], None] | None = None,
        on_end: Callable[[str, str | None], None] | None = None,
    ) -> None:
        self.engine, self.board = engine, board
        self.jobs = Jobs(engine.store, engine.clock)
        self.capacity = capacity
        self.hosts, self.standby = list(hosts), list(standby)
        self.max_builds = max_builds
        self.metrics = metrics or Metrics()
        self._on_event = on_event or (lambda _line: None)
        self._on_end = on_end or (lambda _build, _status: None)
        self._pool = ThreadPoolExecutor(max_builds, thread_name_prefix="conduct")
        self._work: dict[str, _Work] = {}
        self._lock = threading.Lock()
        # how often it was told to stop; a plain number, for a signal may come while a lock is held
        self._told = 0
        self._answered = 0
        self._stopped = threading.Event()
        self._free = threading.Semaphore(max_builds)
        self._offered = threading.Event()
        self._ahead: deque[tuple[Posting, Row | None]] = deque()
        self._ahead_at = 0.0
        self._sick: dict[str, str] = {}  # hosts of ours that can't be used, and why
        # jobs on our hosts that are beyond our reach; one posted anew is looked at anew
        self._elsewhere: set[tuple[str, str]] = set()
        self._foreign: set[str] = set()  # what another store has on the board
        self._said: set[str] = set()

    # --- the loop --------------------------------------------------------------------------------

    def run(self) -> None:
        """Take jobs until `drain` or `hand_over` is called and the last build has ended here."""
        threads = [
            threading.Thread(target=self._keep_claims, name="keep claims", daemon=True),
            threading.Thread(target=self._mend_board, name="mend board", daemon=True),
        ]
        # one each: a hypervisor that hangs must not have the other hosts look dead
        tending = [
            threading.Thread(target=self._tend, args=(host,), name=f"tend {host.name}", daemon=True)
            for host in self.hosts
        ]
        for thread in (*threads, *tending):
            thread.start()
        if self.hosts:  # before they are offered, no host has room
            self._offered.wait(FIRST_OFFER_S)
        try:
            while not self._told:
                if not self._take_one():
                    time.sleep(IDLE_S)
        except BaseException:
            self.hand_over()
            raise
        finally:
            self._await_work()
            self._stopped.set()
            self._pool.shutdown(wait=True)
            for thread in threads:
                thread.join()
            self.board.close()

    def drain(self) -> None:
        """Claim nothing more; `run` returns when what runs here has ended. Again: hand over.

        May be called by a handler of signals.
        """
        self._told += 1

    def hand_over(self) -> None:
        """Leave what runs here at its next safe point, for others to go on with at once."""
        self._told += 2

    @property
    def handing_over(self) -> bool:
        """Whether it was told to leave what runs here to others."""
        return self._told > 1

    def _answer(self) -> None:
        """Say once what it does since it was told to stop, and once since it was told again."""
        told = min(self._told, 2)
        if told > self._answered:
            self._answered = told
            handing_over = "handing over at once"
            self._event(handing_over if told > 1 else "no new builds; those here end first")

    def _await_work(self) -> None:
        while True:
            self._answer()
            with self._lock:
                running = list(self._work)
            if not running:
                return
            if self.handing_over:
                for build in running:  # each time: one may only now have become a run
                    self._let_go(build)
            time.sleep(IDLE_S)

    def _take_one(self) -> bool:
        """Claim one job and start it; False when there is none for us now."""
        if not self._free.acquire(timeout=IDLE_S):
            return False
        taken = False
        try:
            found = self._next()
            if found is not None:
                taken = self._try(*found)
            return taken or found is not None
        except (BoardUnusable, StoreError) as error:
            self._event_once(error.summary)
            time.sleep(TROUBLED_S)
            return False
        except Exception as error:  # of this job: others are to be taken all the same
            self._unforeseen("take a job", error)
            time.sleep(TROUBLED_S)
            return False
        finally:
            if not taken:
                self._free.release()

    def _next(self) -> tuple[Posting, Row | None] | None:
        """A job and what is known of its build: of many jobs at once, for most are not for us.

        What is known may be out of date; it is looked at again once the job is claimed.
        """
        if time.monotonic() - self._ahead_at > AHEAD_S:
            self._ahead.clear()
        if not self._ahead:
            postings = list(islice(iter(self.board.next, None), AHEAD))
            begun = time.monotonic()
            rows = self.jobs.glances([posting.build for posting in postings]) if postings else {}
            self.board.looked(time.monotonic() - begun)
            self._ahead.extend((posting, rows.get(posting.build)) for posting in postings)
            self._ahead_at = time.monotonic()
        return self._ahead.popleft() if self._ahead else None

    def _try(self, posting: Posting, row: Row | None) -> bool:
        build = posting.build
        with self._lock:
            if build in self._work:
                return False
        if row is None:
            self._leave(build)
            return False
        if not self._wanted(row):
            return False
        taken = False
        try:
            taken = self.board.claim(posting)
        finally:
            if not taken:
                self.capacity.forget(build)
        if not taken:
            return False
        work = _Work(posting, row["name"] or build)
        with self._lock:
            self._work[build] = work
            self.metrics.running(len(self._work))
        self._said.clear()
        self.metrics.claimed()
        self._pool.submit(self._carry, work)
        return True

    def _leave(self, build: str) -> None:
        """A job of no build of ours; builds are never taken out of a store."""
        if not self._foreign:
            self._event(
                f"the jobboard has jobs of another store, such as {build}: they are left to its"
                " conductors; give each store a board of its own"
            )
        self._foreign.add(build)

    def _wanted(self, row: Row) -> bool:
        """Whether a job is ours to try now; see the module."""
        if intention_of(row) is None or row["job"] == ASIDE:
            return True  # to be taken off the board
        if (row["id"], row["posted_at"]) in self._elsewhere:
            return False
        host = row["host"]
        deadline = row["deadline_at"]
        late = deadline is not None and deadline < stamp(self.engine.clock.now())
        to_end = row["status"] not in ENDED and (late or row["stop"] is not None)
        if host is None and (to_end or row["status"] in ENDED):
            return True  # whatever it waits for: there is nothing to undo
        if self.jobs.must_wait(row):
            return False
        if host is not None:
            ours = host in self.engine.world.computes and host not in self._sick
            return ours or (to_end and not self.capacity.alive(host))
        return self._has_room(row)

    def _has_room(self, row: Row) -> bool:
        """Keep room for a new build on a host of ours; where no host has any, it backs off."""
        demand = demand_of(json.loads(row["inputs"]))
        ours = [host.name for host in self.hosts if host.name not in self._sick]
        try:
            self.capacity.place(demand, ours, (), row["id"])
        except NoRoom:
            pass
        else:
            return True
        try:
            choose(self.capacity.rooms(demand), demand, ())
        except NoRoom as error:
            if self.hosts and self.jobs.failed(row, error.summary):
                self._event(f"{row['name'] or row['id']}: {error.summary}; set aside")
                self.metrics.set_aside()
        return False

    # --- one build -------------------------------------------------------------------------------

    def _carry(self, work: _Work) -> None:
        build = work.posting.build
        status: str | None = None
        try:
            status = self._carry_out(work)
        except StoreError as error:  # it is away: no fault of the job's
            self._event_once(error.summary)
            self._give_back(work)
        except BaseException as error:
            LOG.exception("build %s", build)
            self._event(f"{work.name}: {without_credentials(repr(error))}")
            self._give_back(work)
        finally:
            # before it may be claimed again
            self.capacity.forget(build)
            try:
                self._on_end(build, status)
            finally:
                with self._lock:
                    self._work.pop(build, None)
                    self.metrics.running(len(self._work))
                self._free.release()

    def _carry_out(self, work: _Work) -> str | None:
        """Bring one build to its end; returns its status, None when it goes on elsewhere."""
        build = work.posting.build
        started = time.monotonic()
        row = self.jobs.glance(build)
        assert row is not None, "it was there before the job was claimed"
        if row["job"] != ASIDE:  # such a job leaves the board; `buildflow jobs` lists it
            intention = intention_of(row)
            if intention is not None:
                return self._work_on(work, row, intention, started)
            self.jobs.forget(row)
        self._take_off(work)
        return None

    def _work_on(self, work: _Work, row: Row, intention: Intention, started: float) -> str | None:
        build, name = row["id"], work.name
        holder = self._other_holder(row)
        if holder is not None:
            self._event(f"{name}: posted twice, and {holder} is at work on it")
            self._take_off(work)
            return None
        if work.lost or self.handing_over:
            self._give_back(work)
            return None
        if not self._within_reach(row, name):
            self._give_back(work)
            return None
        self._event(f"{name}: claimed by {self.board.who}")
        if row["tries"] or row["reason"] is not None:
            self.jobs.taken(build)
        if intention is not Intention.RUN:
            self.metrics.removing(build)
        try:
            self.engine.carry_out(build, intention, take_over=True)
        except StaleOwner as error:
            if work.lost:
                pass  # that has been said
            elif self.handing_over:
                self._event(f"{name}: handed over")
            else:
                self.metrics.lost()
                self._event(f"{name}: {error.summary}")
            self._give_back(work)
            return None
        except StoreError:
            raise
        except NoRoom as error:  # another was faster; when nobody has room, that counts as a try
            self._event(f"{name}: {error.summary}; it waits")
            self._give_back(work)
            return None
        except BuildflowError as error:
            self._set_back(work, error)
            return None
        ended = self.engine.store.build(build)
        if ended is None or ended["status"] not in ENDED:
            self._give_back(work)
            return None
        status = str(ended["status"])
        if intention is Intention.RUN:
            self.metrics.ended(status, time.monotonic() - started)
        self._event(f"{name}: {status}")
        # the row first: who finds the job without it sees that the build has ended
        self.jobs.forget(row)
        self._take_off(work)
        return status

    def _within_reach(self, row: Row, name: str) -> bool:
        """Whether what the build has made is where we would look for it.

        Not so for a conductor that serves the same host with another home or cloud than the one
        that began; it leaves the job to those that can do it, and counts no try.
        """
        if row["status"] == "queued" or row["host"] not in self.engine.world.computes:
            return True
        try:
            self.engine.require_place(row["id"])
        except OutOfReach as error:
            self._elsewhere.add((row["id"], row["posted_at"]))
            self.jobs.note(row["id"], error.summary)
            self._event(f"{name}: {error.summary}; left to others")
            return False
        except BuildflowError:
            pass  # a hypervisor that is down: to be told, and counted, as what the run meets
        return True

    def _other_holder(self, row: Row) -> str | None:
        """Who else has a claim on the build that we have just claimed a job of.

        A board may hold two jobs of one build, as when it was restored. Its owner is only asked
        about when it seems to live: the board's word is enough that a dead one has lost it.
        """
        if row["status"] == "queued" or not self.engine.owner_lives(row):
            return None
        return self.board.other_holder(row["id"])

    def _give_back(self, work: _Work) -> None:
        """The build goes on elsewhere: the claim, if we still hold it, is given up."""
        if not work.lost:
            work.let_go = True
            self._patiently(lambda: self.board.abandon(work.posting))

    def _take_off(self, work: _Work) -> None:
        """Its job is done, or stands aside: the board needs it no more."""
        work.let_go = True
        self._patiently(lambda: self.board.consume(work.posting))

    def _set_back(self, work: _Work, error: BuildflowError) -> None:
        build = work.posting.build
        reason = error.summary
        row = self.jobs.glance(build)  # as it is by now
        aside = row is not None and self.jobs.failed(row, reason)
        self._event(f"{work.name}: {reason}; {'set aside' if aside else 'to be tried again'}")
        if aside:
            self.metrics.set_aside()
            self._take_off(work)
        else:
            self._give_back(work)

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
        """Extend every claim at a quarter of its expiry."""
        while not self._stopped.wait(self.board.expiry_s / 4):
            with self._lock:
                works = list(self._work.values())
            try:
                for work in works:
                    if not work.let_go and not self.board.extend(work.posting):
                        self._lose(work)
            except BoardUnusable:
                pass  # nobody knows; the epoch decides if it comes to that
            except Exception as error:  # nobody would notice that this thread has died
                self._unforeseen("keep claims", error)

    def _lose(self, work: _Work) -> None:
        build = work.posting.build
        with self._lock:
            if work.lost or work.let_go or self._work.get(build) is not work:
                return
            work.lost = True
        self.metrics.lost()
        self._event(f"{work.name}: the claim is lost; left to its new owner")
        self._let_go(build)

    def _let_go(self, build: str) -> None:
        run = self.engine.running(build)
        if run is not None:
            run.note_stop(LOST, "the claim on its job")

    # --- hosts and board -------------------------------------------------------------------------

    def _tend(self, host: HostRow) -> None:
        """Say that a host of ours is there, or why it can't be used."""
        while True:
            try:
                try:
                    self.engine.world.on(host.name).check()
                except BuildflowError as error:
                    reason = error.summary
                    if self._sick.get(host.name) != reason:
                        self._event(f"host {host.name} is down: {reason}")
                    self._sick[host.name] = reason
                    self.capacity.doubt(host, reason)
                else:
                    self.capacity.offer(host)
                    self._offered.set()
                    if self._sick.pop(host.name, None) is not None:
                        self._event(f"host {host.name} is up")
            except StoreError as error:
                self._event_once(error.summary)
            except Exception as error:  # nobody would notice that this thread has died
                self._unforeseen(f"tend {host.name}", error, f"host {host.name}: ")
            if self._stopped.wait(OFFER_S):
                return

    def _mend_board(self) -> None:
        """Put on the board what others asked for, and what it has lost."""
        expiry = self.board.expiry_s
        look_again_at = 0.0
        while not self._stopped.wait(ASKED_S):
            try:
                for host in self.standby:
                    if self.engine.world.is_open(host):
                        reason = f"{self.board.who} finishes what is on it"
                        self.capacity.attend(host, reason)
                self._post_asked()
                missing: list[str] = []
                if time.monotonic() >= look_again_at:
                    look_again_at = time.monotonic() + expiry
                    self.jobs.adopt(older_s=expiry)
                    count = self.jobs.count()
                    self.metrics.queue(count)
                    if self.board.count() - len(self._foreign) < count:
                        posted = self.board.posted()
                        self._foreign &= posted
                        self._elsewhere -= {e for e in list(self._elsewhere) if e[0] not in posted}
                        missing += self.jobs.unposted(posted, older_s=expiry)
                for build in missing:
                    with self._lock:
                        ours = build in self._work
                    if not ours:
                        self.board.post(build)
            except BuildflowError as error:
                self._event_once(error.summary)
            except Exception as error:  # nobody would notice that this thread has died
                self._unforeseen("mend board", error)

    def _post_asked(self) -> None:
        asked = self.jobs.asked()  # ours to post from here on
        for place, build in enumerate(asked):
            try:
                self.board.post(build)
            except BoardUnusable as error:
                self.jobs.unasked(asked[place:], error.summary)
                raise

    def _event(self, line: str) -> None:
        self._on_event(line)

    def _unforeseen(self, what: str, error: Exception, whose: str = "") -> None:
        """Tell what nobody foresaw, for what it met goes on."""
        LOG.exception(what)
        self._event_once(whose + without_credentials(repr(error)))

    def _event_once(self, line: str) -> None:
        """Say something that may go on for long, and that several threads find out."""
        if line not in self._said:
            self._said.add(line)
            self._event(line)
