"""The jobs' rows: tries, back-off, standing aside, and what goes on the board again."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from buildflow.api import VmEngine
from buildflow.config import Settings
from buildflow.distributed.jobs import ASIDE, ASKED, POSTED, Jobs
from buildflow.distributed.request import intention_of
from buildflow.engine.clock import VirtualClock
from buildflow.engine.guard import Intention
from buildflow.engine.store import Row
from buildflow.flows.request import parse_request
from tests.lab.services import PostgreSQL


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def engine(tmp_path: Path, clock: VirtualClock) -> Iterator[VmEngine]:
    with VmEngine(Settings(home=tmp_path), clock=clock, watch_s=None) as engine:
        yield engine


@pytest.fixture
def jobs(engine: VmEngine) -> Jobs:
    return Jobs(engine.store, engine.clock)


def accepted(engine: VmEngine, name: str = "vm") -> str:
    request = parse_request(name=name, image="x")
    return str(engine.accept_build(request, queue=True)["id"])


def seen(jobs: Jobs, build: str) -> Row:
    """What a conductor sees of a build before it tries it."""
    row = jobs.glance(build)
    assert row is not None
    return row


def test_tries_back_off_and_end_aside(engine: VmEngine, jobs: Jobs, clock: VirtualClock) -> None:
    build = accepted(engine)
    jobs.post(build)
    waits = []
    for number in range(1, 9):
        assert jobs.failed(seen(jobs, build), f"reason {number}") == (number == 8)
        row = seen(jobs, build)
        waited = 0.0
        while jobs.must_wait(row):
            clock.sleep(0.5)
            waited += 0.5
        waits.append(waited)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    (listed,) = jobs.listed()
    assert (listed["state"], listed["tries"], listed["reason"]) == (ASIDE, 8, "reason 8")
    assert jobs.count() == 0
    jobs.post(build)
    assert (jobs.listed()[0]["state"], jobs.listed()[0]["tries"]) == (POSTED, 0)


def test_why_it_waited_is_not_said_of_one_that_runs(engine: VmEngine, jobs: Jobs) -> None:
    build = accepted(engine)
    jobs.post(build)
    jobs.failed(seen(jobs, build), "its hypervisor was down")
    jobs.taken(build)
    (listed,) = jobs.listed()
    assert (listed["reason"], listed["tries"]) == (None, 1)
    assert not jobs.must_wait(seen(jobs, build)), "who takes it over does not wait for that either"


@pytest.mark.services
def test_two_may_post_one_build_at_once(tmp_path: Path, postgresql: PostgreSQL) -> None:
    settings = Settings(home=tmp_path, store=postgresql.new_database())
    with VmEngine(settings, watch_s=None) as engine, ThreadPoolExecutor(8) as pool:
        jobs = Jobs(engine.store, engine.clock)
        for number in range(20):
            build = accepted(engine, f"vm{number}")
            list(pool.map(jobs.post, [build] * 8))
        assert jobs.count() == 20


def test_what_could_not_be_put_on_the_board_is_asked_for_again(
    engine: VmEngine, jobs: Jobs, clock: VirtualClock
) -> None:
    first, second, forgotten = (accepted(engine, name) for name in ("a", "b", "c"))
    for build in (first, second, forgotten):
        jobs.post(build, ASKED)
        clock.sleep(1)
    posted_at = {build: seen(jobs, build)["posted_at"] for build in (first, second)}
    assert set(jobs.asked()) == {first, second, forgotten}
    jobs.forget(seen(jobs, forgotten))
    jobs.unasked([first, second, forgotten], "the jobboard is away")
    rows = {row["build"]: row for row in jobs.listed()}
    assert set(rows) == {first, second}, "what has ended meanwhile is not made anew"
    for build, at in posted_at.items():
        row = rows[build]
        assert (row["state"], row["reason"]) == (ASKED, "the jobboard is away")
        assert row["posted_at"] == at, "in the order in which they were asked for"
    assert set(jobs.asked()) == {first, second}
    assert {row["reason"] for row in jobs.listed()} == {None}


def test_what_is_asked_for_meanwhile_is_not_forgotten(
    engine: VmEngine, jobs: Jobs, clock: VirtualClock
) -> None:
    build = accepted(engine)
    jobs.post(build)
    before = seen(jobs, build)
    clock.sleep(1)
    jobs.post(build, ASKED)  # somebody wants it deleted, just as its build ends
    jobs.forget(before)
    assert jobs.asked() == [build]
    jobs.forget(seen(jobs, build))
    assert jobs.listed() == []


def test_a_try_is_counted_once_of_several_conductors(
    engine: VmEngine, jobs: Jobs, clock: VirtualClock
) -> None:
    """What a conductor knows of many jobs is up to half a second old."""
    build = accepted(engine)
    jobs.post(build)
    row = seen(jobs, build)
    jobs.failed(row, "one")
    jobs.failed(row, "the other")
    clock.sleep(0.4)
    jobs.failed(row, "a third, with what it saw before the first one tried")
    found = jobs.row(build)
    assert found is not None
    assert (found["tries"], found["reason"]) == (1, "one")


def test_a_try_does_not_count_against_what_came_after_it(
    engine: VmEngine, jobs: Jobs, clock: VirtualClock
) -> None:
    taken, posted = (accepted(engine, name) for name in ("taken", "posted"))
    for build in (taken, posted):
        jobs.post(build)
    before = {build: seen(jobs, build) for build in (taken, posted)}
    assert engine.store.claim(taken, "somebody", 0) is not None
    clock.sleep(1)
    jobs.post(posted)
    for build, row in before.items():
        assert not jobs.failed(row, "no room", max_tries=1)
        assert seen(jobs, build)["tries"] == 0


def test_what_is_asked_for_is_taken_once(engine: VmEngine, jobs: Jobs) -> None:
    build = accepted(engine)
    jobs.post(build, ASKED)
    assert jobs.asked() == [build]
    assert jobs.asked() == []


def test_one_that_stood_aside_is_taken_up_again_when_it_is_to_stop(
    engine: VmEngine, jobs: Jobs
) -> None:
    stays, stops = (accepted(engine, name) for name in ("stays", "stops"))
    for build in (stays, stops):
        jobs.post(build)
        assert jobs.failed(seen(jobs, build), "no room", max_tries=1)
    assert jobs.asked() == []
    assert engine.cancel(stops)
    assert jobs.asked() == [stops]
    assert jobs.asked() == []
    assert (seen(jobs, stops)["job"], seen(jobs, stops)["tries"]) == (POSTED, 0)
    assert seen(jobs, stays)["job"] == ASIDE


def test_a_lost_job_is_posted_again_by_one(
    engine: VmEngine, jobs: Jobs, clock: VirtualClock
) -> None:
    lost, there, aside = (accepted(engine, name) for name in ("lost", "there", "aside"))
    for build in (lost, there, aside):
        jobs.post(build)
    jobs.failed(seen(jobs, aside), "a reason", max_tries=1)
    assert jobs.unposted({there}, older_s=10) == [], "it may be on its way to the board"
    clock.sleep(11)
    assert jobs.unposted({there}, older_s=10) == [lost]
    assert jobs.unposted({there}, older_s=10) == []


def test_a_build_without_a_job_gets_one(engine: VmEngine, jobs: Jobs, clock: VirtualClock) -> None:
    build = accepted(engine)
    assert jobs.adopt(older_s=10) == []
    clock.sleep(11)
    assert jobs.adopt(older_s=10) == [build]
    assert jobs.asked() == [build]
    assert jobs.adopt(older_s=10) == []


@pytest.mark.parametrize(
    ("status", "job", "stop", "vm_state", "wanted"),
    [
        ("queued", "posted", None, "building", Intention.RUN),
        ("running", None, None, "building", Intention.RUN),
        ("rolling_back", "posted", "deleted", "active", Intention.RUN),
        ("complete", "posted", None, "active", None),
        ("complete", "posted", "deleted", "active", Intention.DELETE),
        ("complete", None, "deleted", "active", None),
        ("rolled_back", "posted", "deleted", "deleted", None),
        ("rolled_back", "posted", "deleted", "error", Intention.DELETE),
        ("residue", "posted", None, "error", Intention.CLEANUP),
        ("residue", None, None, "error", None),
        ("residue", "posted", "deleted", "active", Intention.DELETE),
    ],
)
def test_what_a_job_asks_of_its_build(
    status: str, job: str | None, stop: str | None, vm_state: str, wanted: Intention | None
) -> None:
    row: dict[str, Any] = {"status": status, "job": job, "stop": stop, "vm_state": vm_state}
    assert intention_of(row) is wanted
