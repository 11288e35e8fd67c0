"""What somebody asks of a build that conductors carry out: to run it, remove it or clean it up."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final

from buildflow.distributed.capacity import Capacity
from buildflow.distributed.jobs import ASIDE, ASKED, POSTED, Jobs
from buildflow.drivers.protocols import Demand
from buildflow.engine.core import Handle
from buildflow.engine.guard import Decision, Intention, decide
from buildflow.engine.store import ENDED, Row
from buildflow.errors import HostUnusable

if TYPE_CHECKING:
    from buildflow.api import VmEngine

LOOK_S: Final = 0.2
# how long a job that a conductor has left to others waits for one of those
REFUSED_S: Final = 10.0
# how long one waits that no conductor has begun, and nobody says why
UNBEGUN_S: Final = 60.0


def demand_of(inputs: Mapping[str, Any]) -> Demand:
    """The room that a build with these inputs needs (flows/build.py has the defaults)."""
    return Demand(
        vcpus=inputs.get("vcpus", 1),
        memory_mib=inputs.get("memory_mib", 512),
        disk_gib=inputs.get("disk_gib") or 0,
        affinity_group=inputs.get("affinity_group"),
        anti_affinity_group=inputs.get("anti_affinity_group"),
    )


def intention_of(row: Row) -> Intention | None:
    """What a job asks of its build; None when there is nothing left to do.

    `row` is jobs.py: Jobs.glance's. A job of a build that has ended was posted for its removal, or
    to clean up: the build's own was forgotten when it ended.
    """
    if row["status"] not in ENDED:
        return Intention.RUN
    if row["job"] is None:
        return None
    if row["stop"] == "deleted" and row["vm_state"] != "deleted":
        return Intention.DELETE
    return Intention.CLEANUP if row["status"] == "residue" else None


def host_served(engine: VmEngine, row: Row) -> bool:
    """Whether a conductor that lives serves the host of a build."""
    host = row["host"]
    return host is not None and Capacity(engine.store, engine.clock).alive(host)


def ask(engine: VmEngine, row: Row, intention: Intention) -> Handle:
    """Have a conductor delete or clean up a build that has ended; returns at once.

    The handle raises HostUnusable when the host's conductor goes away before it is done, or those
    that live can't do it; it stays asked for.
    """
    if intention is Intention.DELETE:
        engine.store.request_stop(row["id"], "deleted")
    Jobs(engine.store, engine.clock).post(row["id"], ASKED)
    future: Future[None] = Future()

    def body() -> None:
        try:
            _await(engine, row["id"], intention)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(None)

    threading.Thread(target=body, name="await conductor", daemon=True).start()
    return Handle(engine, row["id"], future)


class Others:
    """Whether a conductor is going to do what somebody wants of a build, so that it can be waited
    for. Raises HostUnusable when those that live can't; it stays asked for.
    """

    def __init__(self, engine: VmEngine) -> None:
        self._engine = engine
        self._jobs = Jobs(engine.store, engine.clock)
        self._patience = _Patience(engine)
        self._asked = False

    def __call__(self, row: Row) -> bool:
        """Looked at again and again, of a build that nobody is at work on."""
        if not host_served(self._engine, row):
            return False  # or nobody has begun it: whoever is first ends it
        job = self._jobs.row(row["id"])
        if job is None and row["status"] in ENDED and not self._asked:
            self._asked = True
            self._jobs.post(row["id"], ASKED)
            return True
        if job is None or job["state"] == ASIDE:
            return False
        self._patience.look(job, row)
        return True


class _Patience:
    """How long somebody waits for a job that its conductors can't do, or do not begin with."""

    def __init__(self, engine: VmEngine) -> None:
        self._clock = engine.clock
        self._begun_at = engine.clock.monotonic()
        self._refused_at: float | None = None

    def look(self, job: Row | None, row: Row) -> None:
        """Raises HostUnusable when `row`'s build has waited for too long."""
        now = self._clock.monotonic()
        reason = job["reason"] if job is not None else None
        if reason is None and (job is None or job["state"] == POSTED):
            self._refused_at = None
        elif reason is not None and self._refused_at is None:
            self._refused_at = now
        if row["status"] not in ENDED:
            self._begun_at = now
        if self._refused_at is not None and reason and now - self._refused_at >= REFUSED_S:
            raise HostUnusable(f"{reason}; it stays asked for, and a conductor that can do it will")
        if now - self._begun_at >= UNBEGUN_S:
            raise HostUnusable(
                f"no conductor has begun with it for {UNBEGUN_S:g} s; it stays asked for, and"
                " `buildflow jobs` lists it"
            )


def _await(engine: VmEngine, build: str, intention: Intention) -> None:
    jobs = Jobs(engine.store, engine.clock)
    patience = _Patience(engine)
    while True:
        job = jobs.row(build)
        row = engine.store.build(build)
        if row is None or decide(row, intention) is Decision.NOTHING:
            return
        if job is None and row["status"] in ENDED:
            return  # it was tried, and something is left
        if job is not None and job["state"] == ASIDE:
            raise HostUnusable(f"set aside after {job['tries']} tries: {job['reason']}")
        patience.look(job, row)
        if not host_served(engine, row):
            raise HostUnusable(
                f"the conductor of host {row['host']} has gone away; whoever serves it next does it"
            )
        engine.clock.sleep(LOOK_S)
