"""Over a reschedule what the user had is kept, and nothing is left on the host that failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from buildflow.api import VmEngine
from buildflow.config import Settings
from buildflow.distributed.capacity import Capacity, HostRow
from buildflow.drivers.simulated import SimulatedWorld, drivers_of
from buildflow.engine.clock import VirtualClock
from buildflow.errors import DriverError


def test_a_host_that_the_store_does_not_list_is_no_candidate(tmp_path: Path) -> None:
    """Of a conductor's hosts one may not have been offered yet, or not be taken by the store."""
    world, clock = SimulatedWorld(clock=VirtualClock()), VirtualClock()
    hosts: list[str] = []

    def points(where: str, subject: str, run: Any) -> None:
        if (where, subject) == ("made", "start"):
            hosts.append(run.host)
            raise DriverError(f"{run.host} is not well")

    drivers = drivers_of(world, "h1", "h2", "h3")
    with VmEngine(
        Settings(home=tmp_path), drivers, clock=clock, points=points, watch_s=None
    ) as engine:
        drivers.capacity = capacity = Capacity(engine.store, clock)
        for name in ("h2", "h3"):
            capacity.offer(HostRow(name, "sim:///", vcpus=9, memory_mib=9216, disk_gib=9))
        shown = engine.build(name="vm", image="cirros", memory_mib=64).wait()
        assert shown["status"] == "rolled_back"
        claims = [effect for effect in shown["effects"] if effect["kind"] == "claim"]
        assert len(claims) == len(hosts)
    assert hosts == ["h2", "h3"]


@pytest.mark.parametrize("good_host", ["h3", None])
def test_the_users_port_and_volume_are_kept(tmp_path: Path, good_host: str | None) -> None:
    world = SimulatedWorld(clock=VirtualClock())
    port = world.add_port(fixed_ip="10.20.9.9")
    volume = world.add_volume("mine")
    before = world.snapshot()
    seen: list[tuple[str, str, str]] = []

    def points(where: str, subject: str, run: Any) -> None:
        if (where, subject) == ("made", "start"):
            tables = world.state.tables
            seen.append((run.host, tables["ports"][port]["host"], tables["volumes"][volume]["id"]))
            others = {each["host"] for each in tables["domains"].values()} - {run.host}
            assert others == set(), "nothing is left where it failed"
            assert all(each["host"] == run.host for each in tables["ports"].values())
            if run.host != good_host:
                raise DriverError(f"{run.host} is not well")

    with VmEngine(
        Settings(home=tmp_path), drivers_of(world, "h1", "h2", "h3"), clock=VirtualClock(),
        points=points, watch_s=None,
    ) as engine:  # fmt: skip
        shown = engine.build(
            name="vm", image="cirros", memory_mib=64, volumes=[{"id": volume}],
            networks=[{"port_id": port}, {}],
        ).wait()  # fmt: skip
        assert seen == [(host, host, volume) for host in ("h1", "h2", "h3")]
        lines = [shown["fault"], *shown["errors"]] if good_host is None else shown["errors"]
        assert [line["host"] for line in lines] == ["h1", "h2", "h3"][: len(lines)]
        if good_host is None:
            assert shown["status"] == "rolled_back"
            assert len(lines) == 3
        else:
            assert shown["status"] == "complete"
            assert port in [entry["id"] for entry in shown["network_info"]]
            assert engine.delete("vm").wait()["status"] == "rolled_back"
    assert world.snapshot() == before
    assert world.violations == []
