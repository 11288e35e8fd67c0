"""Which host takes a build, by table."""

from __future__ import annotations

import pytest

from buildflow.distributed.placement import Room, choose
from buildflow.drivers.protocols import Demand
from buildflow.errors import Exhausted

DEMAND = Demand(vcpus=2, memory_mib=1024, disk_gib=10)
ROOMY = Room("roomy", "up", vcpus=8, memory_mib=8192, disk_gib=100)
SMALL = Room("small", "up", vcpus=4, memory_mib=2048, disk_gib=100)


@pytest.mark.parametrize(
    ("rooms", "tried", "wanted"),
    [
        ([SMALL, ROOMY], [], "roomy"),
        ([SMALL, ROOMY], ["roomy"], "small"),
        ([Room("a", "up", 4, 2048, 50), Room("b", "up", 4, 2048, 50)], [], "a"),
        ([Room("off", "down", 64, 65536, 999), SMALL], [], "small"),
        ([Room("kept", "disabled", 64, 65536, 999), SMALL], [], "small"),
        ([Room("has", "up", 64, 65536, 999, anti_affine=True), SMALL], [], "small"),
        ([Room("not", "up", 64, 65536, 999, group_elsewhere=True), SMALL], [], "small"),
    ],
)
def test_the_roomiest_host_that_may_take_it(
    rooms: list[Room], tried: list[str], wanted: str
) -> None:
    assert choose(rooms, DEMAND, tried) == wanted


@pytest.mark.parametrize(
    ("room", "reason"),
    [
        (Room("h", "up", 1, 8192, 100), "1 of vcpus free, 2 wanted"),
        (Room("h", "up", 8, 512, 100), "512 MiB of memory free, 1024 MiB wanted"),
        (Room("h", "up", 8, 8192, 5), "5 GiB of disk free, 10 GiB wanted"),
        (Room("h", "down", 8, 8192, 100), "it is down"),
    ],
)
def test_a_refusal_says_why(room: Room, reason: str) -> None:
    with pytest.raises(Exhausted, match=reason):
        choose([room], DEMAND, [])


def test_of_many_hosts_some_are_told() -> None:
    rooms = [Room(f"h{i:03}", "down", 9, 9, 9) for i in range(1000)]
    with pytest.raises(Exhausted, match=r"h000: it is down; .*; and 992 more\)") as full:
        choose(rooms, Demand(1, 1), ())
    assert len(full.value.summary) < 300


def test_no_host_at_all() -> None:
    with pytest.raises(Exhausted, match="there is none"):
        choose([], DEMAND, [])
