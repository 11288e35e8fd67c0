"""Conductors as processes: killed, stopped and continued, drained; boards and stores restarted."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.distributed.conftest import BOARDS
from tests.distributed.fleet import Fleet, assert_each_effect_made_once
from tests.lab.services import PostgreSQL, Redis, ServicePool

pytestmark = [pytest.mark.services, pytest.mark.slow]


@pytest.mark.timeout(1800)  # one minute or two on two idle cores
def test_300_builds_survive_a_kill_a_stop_and_a_restarted_board(
    new_fleet: Callable[..., Fleet], services_session: ServicePool
) -> None:
    """On each kind of board, all three at once: nine conductors, and each board's own troubles."""
    fleets = {kind: new_fleet(kind, expiry_s=3.0, options={"boot_seconds": 0.3}) for kind in BOARDS}
    builds = {
        kind: [fleet.submit(f"vm{i}", memory_mib=64) for i in range(300)]
        for kind, fleet in fleets.items()
    }
    for fleet in fleets.values():
        for name in ("a", "b", "c"):
            fleet.start(name)

    def done(fleet: Fleet) -> int:
        return list(fleet.statuses().values()).count("complete")

    for fleet in fleets.values():
        fleet.until(lambda: done(fleet) > 20, "20 builds", 300)  # noqa: B023 - used at once
        fleet.send("a", signal.SIGKILL)
        fleet.freeze("b")
    for kind, fleet in fleets.items():
        fleet.until(lambda: done(fleet) > 60, "60 builds", 300)  # noqa: B023 - used at once
        services_session.get(BOARDS[kind]).kill9()
    time.sleep(0.5)
    for kind in fleets:
        services_session.get(BOARDS[kind])  # started again
    time.sleep(5)  # longer than the expiry: b's builds go to c
    for fleet in fleets.values():
        fleet.send("b", signal.SIGCONT)
    for kind, fleet in fleets.items():
        fleet.until(fleet.all_ended, f"end of all builds on {kind}", 600)
        assert fleet.faults() == {}, kind
        assert Counter(fleet.statuses().values()) == {"complete": 300}, kind
        taken_over = {*fleet.claimed("a"), *fleet.claimed("b")} & set(fleet.claimed("c"))
        assert taken_over, f"{kind}: c finished what a and b had begun"
        assert_each_effect_made_once(fleet, builds[kind])
        fleet.until(lambda: not fleet.board.posted(), "empty board", 60)  # noqa: B023
        assert fleet.jobs.listed() == []


def test_takeover_within_the_expiry_and_two_seconds(new_fleet: Callable[..., Fleet]) -> None:
    fleets = {kind: new_fleet(kind, expiry_s=3.0, options={"boot_seconds": 8.0}) for kind in BOARDS}
    builds = {}
    for kind, fleet in fleets.items():
        fleet.start("a")
        builds[kind] = fleet.submit("vm", memory_mib=64)
    for kind, fleet in fleets.items():
        shown = fleet.engine.show
        fleet.until(lambda: shown(builds[kind])["power_state"] == 1, "running guest", 60)  # noqa: B023
        fleet.start("b")
    for fleet in fleets.values():
        fleet.await_start("b")

    def takeover(fleet: Fleet) -> float:
        fleet.send("a", signal.SIGKILL)
        return fleet.until(lambda: "claimed by b" in fleet.log("b"), "takeover", 30)

    with ThreadPoolExecutor(len(fleets)) as pool:
        seconds = dict(zip(fleets, pool.map(takeover, fleets.values()), strict=True))
    print("taken over after", {kind: f"{each:.1f} s" for kind, each in seconds.items()})
    assert all(each <= 3.0 + 2.0 for each in seconds.values()), seconds
    for kind, fleet in fleets.items():
        fleet.until(fleet.all_ended, "end", 60)
        assert fleet.statuses() == {builds[kind]: "complete"}
        assert_each_effect_made_once(fleet, [builds[kind]])


def test_a_database_restarted_in_the_middle_loses_nothing(
    new_fleet: Callable[..., Fleet], postgresql: PostgreSQL
) -> None:
    fleet = new_fleet(options={"boot_seconds": 0.2})
    builds = [fleet.submit(f"vm{i}", memory_mib=64) for i in range(60)]
    fleet.start("a")
    fleet.start("b")
    fleet.until(lambda: "complete" in fleet.statuses().values(), "first build", 60)
    fleet.engine.store.engine.dispose()
    postgresql.restart()
    fleet.until(fleet.all_ended, "end of all builds", 120)
    assert Counter(fleet.statuses().values()) == {"complete": 60}
    assert_each_effect_made_once(fleet, builds)


def test_builds_wait_for_store_and_board_or_roll_back_by_their_deadline(
    new_fleet: Callable[..., Fleet], postgresql: PostgreSQL, redis: Redis
) -> None:
    """Both are killed in mid-build and stay away for longer than one of the builds may take."""
    fleet = new_fleet(options={"boot_seconds": 12.0})
    fleet.start("a")
    fleet.await_start("a")
    patient = fleet.submit("patient", memory_mib=64)
    settings = fleet.engine.settings
    fleet.engine.settings = replace(settings, build_timeout_s=6.0)
    hasty = fleet.submit("hasty", memory_mib=64)
    late = time.monotonic() + 6.5
    fleet.engine.settings = settings
    for build in (patient, hasty):
        shown = fleet.engine.show
        fleet.until(lambda: shown(build)["power_state"] == 1, "running guest", 6)  # noqa: B023
    redis.kill9()
    postgresql.kill9()
    time.sleep(max(0.0, late - time.monotonic()))
    postgresql.start()
    redis.start()
    fleet.engine.store.engine.dispose()
    fleet.until(fleet.all_ended, "end of both", 90)
    assert fleet.statuses() == {patient: "complete", hasty: "rolled_back"}
    assert "time is up" in fleet.engine.show(hasty)["fault"]["message"]
    assert_each_effect_made_once(fleet, [patient, hasty])
    for build in (patient, hasty):
        moves = Counter(line["trigger"] for line in fleet.engine.history(build))
        assert set(moves.values()) == {1}, "nothing is decided twice"
    fleet.until(lambda: not fleet.jobs.listed(), "no jobs", 30)


def test_a_drained_conductor_ends_what_it_has_and_takes_nothing_more(
    new_fleet: Callable[..., Fleet],
) -> None:
    fleet = new_fleet(options={"boot_seconds": 2.0})
    fleet.start("a", max_builds=2)
    first = [fleet.submit(f"vm{i}", memory_mib=64) for i in range(4)]
    fleet.until(lambda: len(fleet.claimed("a")) == 2, "two claims", 30)
    fleet.send("a", signal.SIGTERM)
    fleet.until(lambda: fleet.conductors["a"].poll() is not None, "end of the conductor", 30)
    assert fleet.conductors["a"].returncode == 0
    assert Counter(fleet.statuses()[b] for b in first) == {"complete": 2, "queued": 2}


def test_a_second_signal_hands_over_at_once(new_fleet: Callable[..., Fleet]) -> None:
    fleet = new_fleet(expiry_s=30.0, options={"boot_seconds": 8.0})
    fleet.start("a")
    build = fleet.submit("vm", memory_mib=64)
    fleet.until(lambda: fleet.engine.show(build)["power_state"] == 1, "running guest", 30)
    fleet.start("b")
    fleet.await_start("b")
    fleet.send("a", signal.SIGTERM)
    fleet.until(lambda: "those here end first" in fleet.log("a"), "first answer", 10)
    fleet.send("a", signal.SIGTERM)
    # far sooner than the expiry, for the claim was given up
    assert fleet.until(lambda: "claimed by b" in fleet.log("b"), "hand-over", 30) < 10
    fleet.until(fleet.all_ended, "end", 30)
    assert fleet.statuses() == {build: "complete"}
    assert_each_effect_made_once(fleet, [build])


def test_when_every_host_fails_all_is_undone_with_a_line_for_each(
    new_fleet: Callable[..., Fleet],
) -> None:
    fleet = new_fleet(options={"guest": "powers_off"})
    before = fleet.world.digest()
    build = fleet.submit("vm", memory_mib=64)
    fleet.start("a")
    fleet.until(fleet.all_ended, "end", 60)
    shown = fleet.engine.show(build)
    assert shown["status"] == "rolled_back"
    assert fleet.world.digest() == before
    assert "powered off" in shown["fault"]["message"]
    attempts = [shown["fault"], *shown["errors"]]
    assert len({fault.get("attempt", 1) for fault in attempts}) == 3
    code, out, _ = fleet.run("show", "vm")
    assert code == 0
    assert len([line for line in out.splitlines() if "powered off" in line]) >= 3, out
    assert list(fleet.capacity.inventory()) == []


def test_a_job_that_cannot_be_carried_out_stands_aside_and_is_listed(
    new_fleet: Callable[..., Fleet],
) -> None:
    fleet = new_fleet()
    build = fleet.submit("vm", memory_mib=64)
    for number in range(1, 9):
        row = fleet.jobs.glance(build)
        assert row is not None
        reason = "the last reason" if number == 8 else "a reason"
        assert fleet.jobs.failed(row, reason) == (number == 8)
    (listed,) = fleet.call("jobs")
    assert (listed["state"], listed["tries"], listed["reason"]) == ("aside", 8, "the last reason")
    fleet.start("a")
    fleet.until(lambda: not fleet.board.posted(), "job taken off the board", 30)
    assert fleet.statuses() == {build: "queued"}, "not dropped, and not built"
    code, said, _ = fleet.run("cancel", "vm", "--no-wait")
    assert code == 0
    assert said == "vm will be rolled back by the next conductor that is free\n"
    fleet.until(fleet.all_ended, "end", 30)
    assert fleet.statuses() == {build: "rolled_back"}
    fleet.until(lambda: not fleet.jobs.listed(), "no jobs", 30)


def test_a_job_that_stood_aside_is_tried_again_when_it_is_asked_for(
    new_fleet: Callable[..., Fleet],
) -> None:
    fleet = new_fleet()
    build = fleet.submit("vm", memory_mib=64)
    row = fleet.jobs.glance(build)
    assert row is not None
    assert fleet.jobs.failed(row, "a reason", max_tries=1)
    fleet.start("a")
    fleet.call("jobs", "--retry", "vm")
    fleet.until(fleet.all_ended, "end", 60)
    assert fleet.statuses() == {build: "complete"}
    fleet.until(lambda: not fleet.jobs.listed(), "no jobs", 30)
