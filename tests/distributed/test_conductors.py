"""Conductors as processes: killed, stopped and continued, drained; boards and stores restarted."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable

import pytest

from tests.distributed.fleet import Fleet, assert_each_effect_made_once
from tests.lab.services import PostgreSQL, Service

pytestmark = [pytest.mark.services, pytest.mark.slow]

ALL_BOARDS = pytest.mark.parametrize("board_kind", ["redis", "etcd", "zookeeper"])
ONE_BOARD = pytest.mark.parametrize("board_kind", ["redis"])


@ALL_BOARDS
def test_300_builds_survive_a_kill_a_stop_and_a_restarted_board(
    new_fleet: Callable[..., Fleet], board_service: Service
) -> None:
    fleet = new_fleet(expiry_s=3.0, options={"boot_seconds": 0.3})
    builds = [fleet.submit(f"vm{i}", memory_mib=64) for i in range(300)]
    for name in ("a", "b", "c"):
        fleet.start(name)

    def done() -> int:
        return list(fleet.statuses().values()).count("complete")

    fleet.until(lambda: done() > 20, "20 builds", 90)
    fleet.send("a", signal.SIGKILL)
    fleet.freeze("b")
    fleet.until(lambda: done() > 60, "60 builds", 120)
    board_service.kill9()
    time.sleep(0.5)
    board_service.start()
    time.sleep(5)  # longer than the expiry: b's builds go to c
    fleet.send("b", signal.SIGCONT)
    fleet.until(fleet.all_ended, "end of all builds", 240)
    assert Counter(fleet.statuses().values()) == {"complete": 300}
    assert_each_effect_made_once(fleet, builds)
    fleet.until(lambda: not fleet.board.posted(), "empty board", 30)


@ALL_BOARDS
def test_takeover_within_the_expiry_and_two_seconds(new_fleet: Callable[..., Fleet]) -> None:
    fleet = new_fleet(expiry_s=3.0, options={"boot_seconds": 6.0})
    fleet.start("a")
    build = fleet.submit("vm", memory_mib=64)
    fleet.until(lambda: fleet.engine.show(build)["power_state"] == 1, "running guest", 30)
    fleet.start("b")
    fleet.until(lambda: "taking builds" in fleet.log("b"), "second conductor", 30)
    fleet.send("a", signal.SIGKILL)
    seconds = fleet.until(lambda: "claimed by b" in fleet.log("b"), "takeover", 30)
    assert seconds <= fleet.expiry_s + 2.0
    fleet.until(fleet.all_ended, "end", 30)
    assert fleet.statuses() == {build: "complete"}
    assert_each_effect_made_once(fleet, [build])


@ONE_BOARD
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


@ONE_BOARD
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


@ONE_BOARD
def test_a_second_signal_hands_over_at_once(new_fleet: Callable[..., Fleet]) -> None:
    fleet = new_fleet(expiry_s=30.0, options={"boot_seconds": 8.0})
    fleet.start("a")
    build = fleet.submit("vm", memory_mib=64)
    fleet.until(lambda: fleet.engine.show(build)["power_state"] == 1, "running guest", 30)
    fleet.start("b")
    fleet.until(lambda: "taking builds" in fleet.log("b"), "second conductor", 30)
    fleet.send("a", signal.SIGTERM)
    fleet.until(lambda: "those here end first" in fleet.log("a"), "first answer", 10)
    fleet.send("a", signal.SIGTERM)
    # far sooner than the expiry, for the claim was given up
    assert fleet.until(lambda: "claimed by b" in fleet.log("b"), "hand-over", 30) < 10
    fleet.until(fleet.all_ended, "end", 30)
    assert fleet.statuses() == {build: "complete"}
    assert_each_effect_made_once(fleet, [build])


@ONE_BOARD
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
    assert [claim for claim in fleet.engine.list() if claim["status"] == "residue"] == []


@ONE_BOARD
def test_a_job_that_cannot_be_carried_out_stands_aside_and_is_listed(
    new_fleet: Callable[..., Fleet],
) -> None:
    fleet = new_fleet()
    build = fleet.submit("vm", memory_mib=64)
    for _ in range(7):
        assert not fleet.jobs.failed(build, "a reason")
    assert fleet.jobs.failed(build, "the last reason")
    (listed,) = fleet.jobs.listed()
    assert (listed["state"], listed["tries"], listed["reason"]) == ("aside", 8, "the last reason")
    fleet.jobs.post(build)
    fleet.start("a")
    fleet.until(fleet.all_ended, "end", 60)
    assert fleet.jobs.listed() == []
