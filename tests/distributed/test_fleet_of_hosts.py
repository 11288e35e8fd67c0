"""Builds over several hosts by the command line: room, groups, a host that goes and returns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import update

from buildflow.engine.clock import stamp
from buildflow.engine.schema import jobs
from tests.distributed.fleet import IMAGE, Fleet, assert_each_effect_made_once

pytestmark = [
    pytest.mark.services,
    pytest.mark.slow,
]


def wait_longer(fleet: Fleet) -> None:
    """Builds that wait for room have waited for long, and are not looked at for a minute."""
    with fleet.engine.store.engine.begin() as connection:
        later = stamp(fleet.engine.clock.now() + timedelta(seconds=60))
        connection.execute(update(jobs).values(tries=6, not_before=later))


def test_each_build_goes_where_there_is_room(new_fleet: Callable[..., Fleet]) -> None:
    fleet = new_fleet()
    fleet.start("a", hosts=["h1", "h2"], sizes="vcpus=9,memory=256")
    fleet.start("b", hosts=["h3"], sizes="vcpus=9,memory=512")
    fleet.await_start("a", "b")
    # each conductor has offered its hosts, and together they have room for sixteen
    fleet.until(lambda: len(fleet.capacity.listed()) == 3, "hosts", 30)
    builds = [fleet.submit(f"vm{i}", memory_mib=64) for i in range(17)]
    fleet.until(lambda: Counter(fleet.statuses().values())["complete"] == 16, "16 builds", 90)
    used = {row["name"]: row["memory_mib_used"] for row in fleet.call("hosts")}
    assert used == {"h1": 256, "h2": 256, "h3": 512}
    fleet.until(lambda: any(row["reason"] for row in fleet.jobs.listed()), "reason", 30)
    fleet.until(lambda: len(fleet.jobs.listed()) == 1, "one job", 10)
    (waiting,) = fleet.call("jobs")
    assert waiting["status"] == "queued"
    assert "no host has room" in waiting["reason"]
    assert "h2: 0 MiB of memory free, 64 MiB wanted" in waiting["reason"]
    wait_longer(fleet)
    # a machine that is deleted makes room for it
    gone = next(build for build in builds if fleet.statuses()[build] == "complete")
    assert fleet.call("delete", gone)["status"] == "rolled_back"
    fleet.until(lambda: fleet.statuses()[waiting["build"]] == "complete", "the last build", 30)
    assert_each_effect_made_once(fleet, builds)


def test_a_build_that_waits_for_room_is_cancelled_at_once(
    new_fleet: Callable[..., Fleet],
) -> None:
    fleet = new_fleet()
    fleet.start("a", hosts=["h1"], sizes="vcpus=1")
    fleet.submit("vm", memory_mib=64, vcpus=2)
    fleet.until(lambda: any(row["reason"] for row in fleet.jobs.listed()), "reason", 30)
    wait_longer(fleet)
    code, out, _ = fleet.run("cancel", "vm")
    assert (code, out) == (0, "vm is rolled back\n")


def test_groups_from_the_command_line(new_fleet: Callable[..., Fleet]) -> None:
    fleet = new_fleet()
    fleet.start("a", hosts=["h1", "h2", "h3"])
    common = ("--image", IMAGE, "--memory", "64")
    ids = {}
    for name in ("w1", "w2", "w3"):
        ids[name] = fleet.call("submit", name, *common, "--anti-affinity", "web")["id"]
    for name in ("d1", "d2", "d3"):
        ids[name] = fleet.call("submit", name, *common, "--affinity", "db")["id"]
    fleet.until(fleet.all_ended, "end", 60)
    shown = {row["name"]: row for row in fleet.call("list")}
    assert {row["status"] for row in shown.values()} == {"complete"}
    assert len({shown[name]["host"] for name in ("w1", "w2", "w3")}) == 3
    assert len({shown[name]["host"] for name in ("d1", "d2", "d3")}) == 1
    assert_each_effect_made_once(fleet, list(ids.values()))


def test_a_request_id_is_one_build_however_often_it_is_submitted(
    new_fleet: Callable[..., Fleet],
) -> None:
    fleet = new_fleet()
    words = ("submit", "vm", "--image", IMAGE, "--memory", "64", "--request-id", "once")
    first, again = fleet.call(*words), fleet.call(*words)
    assert first["id"] == again["id"]
    assert list(fleet.board.posted()) == [first["id"]]
    assert fleet.board.count() == 1
    fleet.start("a")
    fleet.until(fleet.all_ended, "end", 60)
    assert fleet.call(*words)["status"] == "complete"
    assert fleet.board.count() == 0


def test_a_host_that_goes_away_and_returns(new_fleet: Callable[..., Fleet]) -> None:
    """Its builds wait for it; one that is to stop is undone as far as can be, the rest later."""
    fleet = new_fleet(options={"boot_seconds": 8.0})
    before = fleet.world.digest()
    fleet.start("a", hosts=["h1"])
    waits, stops = (fleet.submit(name, memory_mib=64, timeout_s=7200.0) for name in ("one", "two"))
    for build in (waits, stops):
        fleet.until(lambda b=build: fleet.engine.show(b)["power_state"] == 1, "guest", 60)  # type: ignore[misc]
    fleet.kill("a")
    fleet.start("b", hosts=["h2"])
    fleet.silence("h1")
    assert fleet.capacity.listed()[0]["state"] == "down"
    assert fleet.engine.cancel(stops)
    fleet.until(lambda: fleet.statuses()[stops] == "residue", "rollback without its host", 90)
    shown = fleet.engine.show(stops)
    kinds = {effect["kind"] for effect in shown["residue"]}
    assert {"guest", "domain", "claim"} <= kinds, "what is on the host is left"
    assert fleet.statuses()[waits] == "running", "nobody has touched it"
    fleet.start("c", hosts=["h1"])
    fleet.until(lambda: fleet.capacity.alive("h1"), "host again", 40)
    assert fleet.call("cleanup", stops)["status"] == "rolled_back"
    fleet.until(lambda: fleet.statuses()[waits] == "complete", "the build that waited", 60)
    assert_each_effect_made_once(fleet, [waits, stops])
    assert fleet.call("delete", waits)["status"] == "rolled_back"
    assert fleet.world.digest() == before


def test_who_loses_a_race_for_room_waits(new_fleet: Callable[..., Fleet]) -> None:
    """Two conductors that serve one host see the same last room, and each takes a build for it."""
    fleet = new_fleet()
    for name in "ab":
        fleet.start(name, hosts=["h1"], sizes="vcpus=2")
    fleet.await_start("a", "b")
    builds = [fleet.submit(f"vm{number}", memory_mib=64, vcpus=1) for number in range(12)]
    gone: set[str] = set()

    def make_room() -> bool:
        for build, status in fleet.statuses().items():
            if status == "complete" and build not in gone:
                gone.add(build)
                fleet.engine.delete(build).wait()
        return len(gone) == len(builds)

    fleet.until(make_room, "each build once", 120)
    assert fleet.faults() == {}
    assert {fleet.engine.show(build)["vm_state"] for build in builds} == {"deleted"}
    assert [thing.id for thing in fleet.capacity.inventory()] == []


def test_who_loses_a_race_for_a_group_goes_to_its_host(new_fleet: Callable[..., Fleet]) -> None:
    fleet = new_fleet()
    fleet.start("a", hosts=["h1"])
    fleet.start("b", hosts=["h2"])
    fleet.await_start("a", "b")
    pairs = [
        [fleet.submit(f"vm{number}-{each}", memory_mib=64, affinity_group=f"g{number}")
         for each in range(2)]
        for number in range(12)
    ]  # fmt: skip
    fleet.until(fleet.all_ended, "end", 120)
    assert set(fleet.statuses().values()) == {"complete"}
    for pair in pairs:
        assert len({fleet.engine.show(build)["host"] for build in pair}) == 1
