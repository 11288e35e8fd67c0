"""Who does what of a build whose conductor has died, and who leaves it alone."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import pytest
from sqlalchemy import update

from buildflow.distributed.jobs import ASKED
from buildflow.engine.clock import stamp
from buildflow.engine.schema import builds
from tests.distributed.fleet import Fleet, assert_each_effect_made_once
from tests.lab.services import Redis

pytestmark = [pytest.mark.services, pytest.mark.slow]

NewFleet = Callable[..., Fleet]


def test_a_machine_whose_deadline_has_passed_is_removed_by_its_own_host(
    new_fleet: NewFleet,
) -> None:
    """The deadline was the build's; where nobody serves the host its removal waits."""
    fleet = new_fleet()
    before = fleet.world.digest()
    fleet.start("a", hosts=["h1"])
    build = fleet.submit("vm", memory_mib=64)
    fleet.until(fleet.all_ended, "end", 60)
    fleet.kill("a")
    fleet.silence("h1")
    past = stamp(fleet.engine.clock.now() - timedelta(seconds=60))
    with fleet.engine.store.engine.begin() as connection:
        connection.execute(update(builds).where(builds.c.id == build).values(deadline_at=past))
    fleet.engine.store.request_stop(build, "deleted")
    fleet.jobs.post(build, ASKED)
    fleet.start("b", hosts=["h2"])
    other = fleet.submit("other", memory_mib=64)
    fleet.until(lambda: fleet.statuses()[other] == "complete", "what b can do", 60)
    fleet.until(lambda: fleet.board.posted() == {build}, "the job on the board", 30)
    assert fleet.statuses()[build] == "complete", "b has left it alone"
    fleet.start("c", hosts=["h1"])
    fleet.until(lambda: fleet.statuses()[build] == "rolled_back", "removal by c", 60)
    assert fleet.call("delete", other)["status"] == "rolled_back"
    assert fleet.world.digest() == before


def test_the_delete_of_a_build_whose_conductor_died_is_left_to_another(
    new_fleet: NewFleet,
) -> None:
    fleet = new_fleet(options={"boot_seconds": 30.0})
    before = fleet.world.digest()
    for name in "ab":
        fleet.start(name, hosts=["h1"])
    fleet.await_start("a", "b")
    build = fleet.submit("vm", memory_mib=64)
    fleet.until(lambda: fleet.engine.show(build)["power_state"] == 1, "running guest", 60)
    dead, lives = ("a", "b") if fleet.claimed("a") else ("b", "a")
    fleet.kill(dead)
    assert fleet.call("delete", "vm")["status"] == "rolled_back"
    assert fleet.claimed(lives) == ["vm"], "not this process has taken it over"
    assert fleet.world.digest() == before
    assert fleet.world.violations == []


def test_a_removal_without_a_board_is_told_and_done_when_it_is_back(
    new_fleet: NewFleet, redis: Redis
) -> None:
    fleet = new_fleet()
    before = fleet.world.digest()
    fleet.start("a", hosts=["h1"])
    fleet.submit("vm", memory_mib=64)
    fleet.until(fleet.all_ended, "end", 60)
    fleet.until(lambda: not fleet.jobs.listed(), "no jobs", 30)
    redis.kill9()
    try:
        code, _, err = fleet.run("delete", "vm")
        assert code == 4
        assert "does not answer" in err
        assert "it stays asked for" in err
    finally:
        redis.start()
    fleet.until(lambda: not fleet.jobs.listed(), "the removal", 60)
    assert fleet.world.digest() == before


def test_signals_in_any_number_end_a_conductor(new_fleet: NewFleet) -> None:
    fleet = new_fleet(options={"boot_seconds": 2.0})
    fleet.start("a")
    fleet.await_start("a")
    build = fleet.submit("vm", memory_mib=64)
    fleet.until(lambda: bool(fleet.claimed("a")), "claim", 30)

    def signalled_to_its_end() -> bool:
        if fleet.conductors["a"].poll() is not None:
            return True
        with suppress(ProcessLookupError):  # it has just ended
            for _ in range(50):
                fleet.send("a", signal.SIGTERM)
        return False

    fleet.until(signalled_to_its_end, "end of the conductor", 20)
    assert fleet.log("a").count("handing over at once") == 1
    fleet.start("b")
    fleet.until(fleet.all_ended, "end", 60)
    assert fleet.statuses() == {build: "complete"}
    assert_each_effect_made_once(fleet, [build])


def test_removals_are_no_rollbacks(new_fleet: NewFleet) -> None:
    fleet = new_fleet()
    fleet.start("a", arguments=["--metrics-port", "0"])
    fleet.submit("vm", memory_mib=64)
    fleet.until(fleet.all_ended, "end", 60)
    assert fleet.call("delete", "vm")["status"] == "rolled_back"
    fleet.until(lambda: not fleet.jobs.listed(), "no jobs", 30)
    figures = fleet.figures("a")
    assert figures['buildflow_builds_total{status="complete"}'] == 1
    assert 'buildflow_builds_total{status="rolled_back"}' not in figures
    assert figures["buildflow_rollbacks_total"] == 0
    assert figures["buildflow_build_seconds_count"] == 1
