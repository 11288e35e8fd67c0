"""Claims that are lost, jobs that are lost or posted twice, and a live owner that is left alone."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.distributed.fleet import Fleet, assert_each_effect_made_once
from tests.lab.services import Redis

pytestmark = [
    pytest.mark.services,
    pytest.mark.slow,
]


def client(redis: Redis) -> Any:
    import redis as library

    return library.Redis.from_url(redis.url)


def test_a_second_job_of_a_build_robs_nobody(new_fleet: Callable[..., Fleet]) -> None:
    fleet = new_fleet(options={"boot_seconds": 4.0})
    fleet.start("a")
    build = fleet.submit("vm", memory_mib=64)
    fleet.until(lambda: fleet.engine.show(build)["power_state"] == 1, "running guest", 60)
    fleet.board.post(build)
    fleet.start("b")
    fleet.until(lambda: fleet.says("b", "posted twice, and a is at work"), "second job", 60)
    fleet.until(fleet.all_ended, "end", 30)
    assert fleet.statuses() == {build: "complete"}
    assert "claimed by b" not in fleet.log("b")
    assert "another owner" not in fleet.log("a")
    assert_each_effect_made_once(fleet, [build])
    fleet.until(lambda: not fleet.board.posted(), "empty board", 30)


def test_a_claim_that_is_gone_ends_the_run_and_not_the_build(
    new_fleet: Callable[..., Fleet], redis: Redis
) -> None:
    fleet = new_fleet(options={"boot_seconds": 4.0})
    fleet.start("a", arguments=["--metrics-port", "0"])
    build = fleet.submit("vm", memory_mib=64)
    fleet.until(lambda: fleet.engine.show(build)["power_state"] == 1, "running guest", 60)
    held = [key for key in client(redis).keys("buildflow*") if b"owned" in key]
    assert len(held) == 1
    client(redis).delete(*held)
    fleet.until(lambda: fleet.says("a", "a: vm: the claim is lost"), "loss", 10)
    fleet.until(fleet.all_ended, "end", 60)
    assert fleet.statuses() == {build: "complete"}
    assert len(fleet.claimed("a")) == 2, "given up, and taken again as anybody's"
    history = [line["trigger"] for line in fleet.engine.history(build)]
    assert not [trigger for trigger in history if "fail" in trigger], "nothing was rolled back"
    assert fleet.figures("a")["buildflow_claims_lost_total"] == 1
    assert_each_effect_made_once(fleet, [build])


def test_a_board_that_lost_everything_is_given_it_again(
    new_fleet: Callable[..., Fleet], redis: Redis
) -> None:
    fleet = new_fleet(options={"boot_seconds": 1.0})
    builds = [fleet.submit(f"vm{i}", memory_mib=64) for i in range(12)]
    fleet.start("a", max_builds=2)
    fleet.start("b", max_builds=2)
    fleet.until(lambda: "complete" in fleet.statuses().values(), "first build", 60)
    client(redis).flushall()
    fleet.until(fleet.all_ended, "end of all builds", 90)
    assert Counter(fleet.statuses().values()) == {"complete": 12}
    assert_each_effect_made_once(fleet, builds)
    fleet.until(lambda: not fleet.board.posted(), "empty board", 30)


def test_what_another_store_has_on_the_board_is_left(
    new_fleet: Callable[..., Fleet],
) -> None:
    fleet = new_fleet()
    others = {f"of-another-store-{number}" for number in range(3)}
    for each in others:
        fleet.board.post(each)
    fleet.start("a")
    built = [fleet.submit("vm", memory_mib=64)]
    fleet.until(lambda: fleet.says("a", "jobs of another store"), "word of it", 30)
    lost = fleet.submit_nowhere("lost", memory_mib=64)  # as if the board had lost its job
    fleet.jobs.post(lost)
    fleet.until(fleet.all_ended, "end", 60)
    assert fleet.statuses() == dict.fromkeys([*built, lost], "complete")
    fleet.until(lambda: fleet.board.posted() == others, "own jobs off the board", 30)
    assert fleet.log("a").count("another store") == 1


def test_a_rollback_is_handed_over(new_fleet: Callable[..., Fleet]) -> None:
    fleet = new_fleet(expiry_s=30.0, options={"guest": "powers_off", "latency_s": 0.15})
    before = fleet.world.digest()
    fleet.start("a", hosts=["h1"])
    build = fleet.submit("vm", memory_mib=64)
    fleet.until(lambda: fleet.statuses()[build] == "rolling_back", "rollback", 60)
    fleet.send("a", signal.SIGTERM)
    fleet.until(lambda: fleet.says("a", "those here end first"), "first answer", 10)
    fleet.send("a", signal.SIGTERM)
    fleet.until(lambda: fleet.conductors["a"].poll() is not None, "end of the conductor", 20)
    assert fleet.says("a", "vm: handed over")
    assert not fleet.says("a", "another owner"), "there is none yet"
    assert fleet.statuses()[build] == "rolling_back", "left as a crash would leave it"
    fleet.start("b", hosts=["h1"])
    fleet.until(fleet.all_ended, "end", 60)
    assert fleet.statuses() == {build: "rolled_back"}
    assert fleet.world.digest() == before
    assert fleet.world.violations == []
