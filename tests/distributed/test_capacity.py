"""Room on hosts is claimed once, by one build, and given back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from buildflow.api import VmEngine
from buildflow.config import Settings
from buildflow.distributed.capacity import (
    DISABLED,
    DOWN,
    SILENT_S,
    STANDBY,
    UP,
    Capacity,
    HostRow,
)
from buildflow.distributed.jobs import Jobs
from buildflow.distributed.placement import NO_ROOM
from buildflow.drivers.protocols import Demand
from buildflow.engine import migrations
from buildflow.engine.clock import VirtualClock
from buildflow.errors import BadInput, Exhausted, StaleOwner
from buildflow.flows.request import parse_request
from tests.lab.services import PostgreSQL


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[VmEngine]:
    with VmEngine(Settings(home=tmp_path)) as engine:
        yield engine


def _builds(engine: VmEngine, count: int) -> list[str]:
    return [
        engine.accept_build(parse_request(name=f"b{i}", image="x"), queue=True)["id"]
        for i in range(count)
    ]


def test_two_builds_that_want_the_last_room_take_turns(engine: VmEngine) -> None:
    capacity = Capacity(engine.store, engine.clock)
    capacity.offer(HostRow("h", "sim:///", vcpus=3, memory_mib=4096, disk_gib=10))
    builds = _builds(engine, 8)

    def claim(build: str) -> bool:
        try:
            capacity.claim(f"key-{build}", build, "h", Demand(1, 1024))
        except Exhausted:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(claim, builds))
    assert won.count(True) == 3
    (host,) = capacity.listed()
    assert (host["builds"], host["vcpus_used"], host["memory_mib_used"]) == (3, 3, 3072)


def test_a_claim_is_found_by_its_key_and_made_once(engine: VmEngine) -> None:
    capacity = Capacity(engine.store, engine.clock)
    capacity.offer(HostRow("h", "sim:///", vcpus=1, memory_mib=1024, disk_gib=1))
    (build,) = _builds(engine, 1)
    first = capacity.claim("k", build, "h", Demand(1, 1024))
    assert capacity.claim("k", build, "h", Demand(1, 1024)) == first
    assert capacity.find("k") == first
    capacity.release("k")
    capacity.release("k")
    assert capacity.find("k") is None
    assert capacity.listed()[0]["vcpus_used"] == 0


def test_a_stale_owner_takes_no_room(engine: VmEngine) -> None:
    capacity = Capacity(engine.store, engine.clock)
    capacity.offer(HostRow("h", "sim:///", vcpus=1, memory_mib=1024, disk_gib=1))
    (build,) = _builds(engine, 1)
    assert engine.store.claim(build, engine.owner_id(), 0) == 1
    with pytest.raises(StaleOwner, match="another owner"):
        capacity.claim("k", build, "h", Demand(1, 1024), epoch=0)
    assert list(capacity.inventory()) == []
    assert capacity.claim("k", build, "h", Demand(1, 1024), epoch=1)["host"] == "h"


def test_groups_keep_together_and_apart(engine: VmEngine) -> None:
    capacity = Capacity(engine.store, engine.clock)
    for name in ("h1", "h2"):
        capacity.offer(HostRow(name, "sim:///", vcpus=9, memory_mib=9216, disk_gib=9))
    one, two = _builds(engine, 2)
    together = Demand(1, 1024, affinity_group="db")
    capacity.claim("k1", one, "h2", together)
    assert capacity.place(together, ["h1", "h2"], []) == "h2"
    apart = Demand(1, 1024, anti_affinity_group="web")
    capacity.claim("k2", two, "h1", apart)
    assert capacity.place(apart, ["h1", "h2"], []) == "h2"
    with pytest.raises(Exhausted, match="anti-affinity group web"):
        capacity.claim("k3", two, "h1", apart)


def test_a_host_that_is_down_or_disabled_is_passed_over(engine: VmEngine) -> None:
    capacity = Capacity(engine.store, engine.clock)
    big = HostRow("big", "sim:///", vcpus=64, memory_mib=65536, disk_gib=99)
    capacity.offer(big)
    capacity.offer(HostRow("small", "sim:///", vcpus=2, memory_mib=2048, disk_gib=9))
    capacity.doubt(big, "a test")
    assert capacity.place(Demand(1, 1024), ["big", "small"], []) == "small"
    capacity.offer(big)
    assert capacity.place(Demand(1, 1024), ["big", "small"], []) == "big"
    capacity.disable("big")
    assert capacity.place(Demand(1, 1024), ["big", "small"], []) == "small"
    capacity.offer(big)  # its conductor is there again: what a person disabled stays so
    assert capacity.place(Demand(1, 1024), ["big", "small"], []) == "small"
    with pytest.raises(BadInput, match="no host is named 'nobody'"):
        capacity.disable("nobody")


def test_a_host_that_nobody_offers_is_down_until_it_is_offered_again(tmp_path: Path) -> None:
    clock = VirtualClock()
    with VmEngine(Settings(home=tmp_path), clock=clock, watch_s=None) as engine:
        capacity = Capacity(engine.store, clock)
        host = HostRow("h", "sim:///", vcpus=8, memory_mib=8192, disk_gib=9)
        capacity.offer(host)
        clock.sleep(SILENT_S - 1)
        assert capacity.place(Demand(1, 1024), ["h"], []) == "h"
        clock.sleep(2)
        assert not capacity.alive("h")
        (row,) = capacity.listed()
        assert row["state"] == DOWN
        assert "no conductor has offered it for 21 s" in row["reason"]
        with pytest.raises(Exhausted, match="h: it is down"):
            capacity.place(Demand(1, 1024), ["h"], [])
        capacity.attend("h", "b finishes what is on it")
        assert capacity.alive("h")
        with pytest.raises(Exhausted, match="h: it is standby"):
            capacity.place(Demand(1, 1024), ["h"], [])
        capacity.offer(host)
        (row,) = capacity.listed()
        assert (row["state"], row["reason"]) == (UP, None)
        capacity.attend("h", "too late")
        assert capacity.listed()[0]["state"] == UP, "its own conductor serves it"


def test_a_host_is_forgotten_when_nobody_serves_it_and_nothing_is_on_it(tmp_path: Path) -> None:
    clock = VirtualClock()
    with VmEngine(Settings(home=tmp_path), clock=clock, watch_s=None) as engine:
        capacity = Capacity(engine.store, clock)
        capacity.offer(HostRow("h", "sim:///", vcpus=8, memory_mib=8192, disk_gib=9))
        (build,) = _builds(engine, 1)
        capacity.claim("k", build, "h", Demand(1, 1024))
        with pytest.raises(BadInput, match="stop its conductor first"):
            capacity.forget_host("h")
        clock.sleep(SILENT_S + 1)
        with pytest.raises(BadInput, match="has 1 builds on it"):
            capacity.forget_host("h")
        assert capacity.shares("h")
        capacity.release("k")
        capacity.forget_host("h")
        assert capacity.listed() == []
        assert not capacity.shares("h")
        with pytest.raises(BadInput, match="no host is named 'h'"):
            capacity.forget_host("h")


def test_a_sick_host_says_why_and_a_disabled_one_stays_so(engine: VmEngine) -> None:
    capacity = Capacity(engine.store, engine.clock)
    host = HostRow("h", "sim:///", vcpus=8, memory_mib=8192, disk_gib=9)
    capacity.doubt(host, "no hypervisor")
    assert (capacity.listed()[0]["state"], capacity.listed()[0]["reason"]) == (
        DOWN,
        "no hypervisor",
    )
    capacity.doubt(host, "no such address")
    assert capacity.listed()[0]["reason"] == "no such address", "what it is now"
    capacity.offer(host)
    capacity.disable("h")
    capacity.offer(host)
    (row,) = capacity.listed()
    assert (row["state"], row["disabled"], row["reason"]) == (DISABLED, True, "disabled by hand")
    assert capacity.alive("h"), "what is on it can be removed"
    capacity.doubt(host, "no hypervisor")
    (row,) = capacity.listed()
    assert (row["state"], row["disabled"], row["reason"]) == (DOWN, True, "no hypervisor")
    assert not capacity.alive("h")
    capacity.disable("h", False)
    assert capacity.listed()[0]["state"] == DOWN, "enabling it does not mend it"


def test_a_disabled_host_that_nobody_serves_is_down(tmp_path: Path) -> None:
    clock = VirtualClock()
    with VmEngine(Settings(home=tmp_path), clock=clock, watch_s=None) as engine:
        capacity = Capacity(engine.store, clock)
        capacity.offer(HostRow("h", "sim:///", vcpus=8, memory_mib=8192, disk_gib=9))
        capacity.disable("h")
        assert capacity.any_alive()
        clock.sleep(SILENT_S + 1)
        (row,) = capacity.listed()
        assert (row["state"], row["disabled"]) == (DOWN, True)
        assert "no conductor has offered it" in row["reason"]
        assert not capacity.alive("h")
        assert not capacity.any_alive()
        capacity.attend("h", "a standby finishes what is on it")
        assert capacity.listed()[0]["state"] == STANDBY
        assert capacity.alive("h")


def assert_disabled_stays_disabled(url: str, home: Path) -> None:
    made = create_engine(url)
    with made.begin() as connection:
        migrations.upgrade(connection, "0002")
        hosts_then = "(name, uri, state, vcpus, memory_mib, disk_gib, seq, seen_at, reason)"
        for name, state in (("off", "disabled"), ("on", "up")):
            values = f"('{name}', 'sim:///', '{state}', 1, 64, 1, 0, '2099-01-01', NULL)"
            connection.exec_driver_sql(f"INSERT INTO hosts {hosts_then} VALUES {values}")
    made.dispose()
    with VmEngine(Settings(home=home, store=url), watch_s=None) as engine:
        listed = Capacity(engine.store, engine.clock).listed()
    assert {row["name"]: row["state"] for row in listed} == {"off": DISABLED, "on": UP}


def test_a_host_that_an_older_version_disabled_stays_so(tmp_path: Path) -> None:
    assert_disabled_stays_disabled(f"sqlite:///{tmp_path / 'store.sqlite'}", tmp_path)


@pytest.mark.services
def test_the_same_in_postgresql(tmp_path: Path, postgresql: PostgreSQL) -> None:
    assert_disabled_stays_disabled(postgresql.new_database(), tmp_path)


def test_only_what_conductors_offer_is_shared(engine: VmEngine) -> None:
    capacity = Capacity(engine.store, engine.clock)
    assert not capacity.shares("h")
    capacity.offer(HostRow("h", "sim:///", vcpus=1, memory_mib=1024, disk_gib=1))
    assert capacity.shares("h")


def room_is_released(capacity: Capacity) -> None:
    capacity.release("k")


def room_is_enabled(capacity: Capacity) -> None:
    capacity.disable("h", False)


def room_is_offered(capacity: Capacity) -> None:
    capacity.offer(HostRow("another", "sim:///", vcpus=1, memory_mib=1024, disk_gib=1))


def room_is_well_again(capacity: Capacity) -> None:
    host = HostRow("h", "sim:///", vcpus=1, memory_mib=1024, disk_gib=1)
    capacity.doubt(host, "no hypervisor")
    capacity.offer(host)


@pytest.mark.parametrize(
    "room_comes", [room_is_released, room_is_enabled, room_is_offered, room_is_well_again]
)
def test_who_waits_for_room_is_tried_at_once_when_there_is_some(
    engine: VmEngine, room_comes: Callable[[Capacity], None]
) -> None:
    capacity, jobs = Capacity(engine.store, engine.clock), Jobs(engine.store, engine.clock)
    host = HostRow("h", "sim:///", vcpus=1, memory_mib=1024, disk_gib=1)
    capacity.offer(host)
    there, waits, broken = _builds(engine, 3)
    capacity.claim("k", there, "h", Demand(1, 1024))
    with pytest.raises(Exhausted) as full:
        capacity.place(Demand(1, 1024), ["h"], [])
    for build, reason in ((waits, full.value.summary), (broken, "its flow is unknown")):
        jobs.post(build)
        for _ in range(3):
            row = jobs.glance(build)
            assert row is not None
            jobs.failed(row, reason)

    def waiting() -> dict[str, bool]:
        rows = jobs.glances([waits, broken])
        return {build: jobs.must_wait(row) for build, row in rows.items()}

    assert waiting() == {waits: True, broken: True}
    capacity.offer(host)
    assert waiting() == {waits: True, broken: True}, "nothing has changed"
    room_comes(capacity)
    assert waiting() == {waits: False, broken: True}
    row = jobs.row(waits)
    assert row is not None
    assert row["tries"] == 0, "a long queue is no reason to stand aside"


def test_of_a_long_queue_those_are_tried_that_have_waited_longest(
    engine: VmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("buildflow.distributed.jobs.WOKEN", 2)
    capacity, jobs = Capacity(engine.store, engine.clock), Jobs(engine.store, engine.clock)
    builds = _builds(engine, 4)
    for build in builds:
        jobs.post(build)
        row = jobs.glance(build)
        assert row is not None
        jobs.failed(row, f"{NO_ROOM} (h: it is down)")
    room_is_offered(capacity)
    rows = jobs.glances(builds)
    assert [jobs.must_wait(rows[build]) for build in builds] == [False, False, True, True]


@pytest.mark.services
def test_two_first_machines_of_a_group_do_not_begin_it_on_two_hosts(
    tmp_path: Path, postgresql_url: str
) -> None:
    with VmEngine(Settings(home=tmp_path, store=postgresql_url), watch_s=None) as engine:
        capacity = Capacity(engine.store, engine.clock)
        for name in ("h1", "h2"):
            capacity.offer(HostRow(name, "sim:///", vcpus=99, memory_mib=99999, disk_gib=9))
        builds = _builds(engine, 24)

        def claim(number: int) -> bool:
            demand = Demand(1, 1024, affinity_group=f"group{number // 2}")
            host = f"h{1 + number % 2}"
            try:
                capacity.claim(f"key{number}", builds[number], host, demand)
            except Exhausted:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(claim, range(24)))
        assert [won[i] + won[i + 1] for i in range(0, 24, 2)] == [1] * 12
