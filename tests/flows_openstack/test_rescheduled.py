"""Two conductors and two libvirt daemons: a guest dies on one host, and is built on the other.

What the user brought (a boot volume, a port) goes along and is kept; what the build made for itself
is made anew. Nothing is left on the host that failed, though the conductor dies in the middle.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libvirt
import pytest

from tests.distributed.fleet import Fleet
from tests.flows_openstack.bed import READY, Bed, files_below
from tests.lab.directories import open_directory
from tests.lab.libvirt import PrivateLibvirtd
from tests.lab.openstack import NETWORK
from tests.lab.services import PostgreSQL, Redis

pytestmark = [pytest.mark.services, pytest.mark.slow]


@pytest.fixture
def daemons(capabilities: Path) -> Iterator[dict[str, PrivateLibvirtd]]:
    """A hypervisor for each of two hosts."""
    with ExitStack() as stack:
        yield {
            host: stack.enter_context(
                PrivateLibvirtd(stack.enter_context(open_directory("bf-lv-")), capabilities)
            )
            for host in ("h1", "h2")
        }


@pytest.fixture
def fleet(
    bed: Bed,
    daemons: dict[str, PrivateLibvirtd],
    postgresql: PostgreSQL,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Fleet]:
    """Conductors a and b, both of which serve both hosts; h1 has more room, and is tried first."""
    monkeypatch.setenv("OS_CLOUD", "lab")
    monkeypatch.setenv("BUILDFLOW_OS_SERVICE_CLOUD", "labsvc")
    import redis as client

    client.Redis.from_url(redis.url).flushdb()
    jobboard = f"redis://127.0.0.1:{redis.port}/0"
    with Fleet(bed.home, postgresql.new_database(), jobboard) as fleet:
        for name in ("a", "b"):
            fleet.start(name, hosts=[], arguments=serving(daemons))
        fleet.await_start("a", "b")
        fleet.until(lambda: len(fleet.capacity.listed()) == 2, "both hosts", 90)
        yield fleet


def serving(daemons: dict[str, PrivateLibvirtd]) -> list[str]:
    """The options of a conductor that serves both hosts."""
    memory = {"h1": 2048, "h2": 1024}
    words = []
    for host, daemon in daemons.items():
        words += ["--host", f"{host}={daemon.uri},vcpus=4,memory={memory[host]},disk=10"]
    return words


@dataclass(frozen=True)
class Mine:
    """What the user brings."""

    volume: str
    port: str


@pytest.fixture
def mine(bed: Bed, guest_image: str) -> Mine:
    """A volume to boot from and a port."""
    return Mine(bed.boot_volume(guest_image), bed.witness.new_port(name="mine").id)


def domains(daemons: dict[str, PrivateLibvirtd]) -> dict[str, list[str]]:
    """What each hypervisor knows, running or not."""
    found = {}
    for host, daemon in daemons.items():
        connection: Any = libvirt.open(daemon.uri)
        try:
            assert connection.listAllSecrets() == []
            found[host] = [domain.UUIDString() for domain in connection.listAllDomains()]
        finally:
            connection.close()
    return found


def await_guest(fleet: Fleet, build: str, host: str) -> None:
    """Wait until the build's guest runs on this host."""

    def runs() -> bool:
        row = fleet.engine.show(build)
        return (row["host"], row["power_state"]) == (host, 1)

    fleet.until(runs, f"guest on {host}", 120)


def kill_guests(daemon: PrivateLibvirtd) -> None:
    """Have the QEMUs of one hypervisor die, as of a defect or for want of memory."""
    for pid in daemon.guests():
        os.kill(pid, signal.SIGKILL)


def submit(fleet: Fleet, mine: Mine) -> str:
    """A build from what is the user's and a NIC on a port that the build makes: its id."""
    asked = fleet.call(
        "submit", "web", "--boot-volume", mine.volume, "--memory", "96", "--virt-type", "qemu",
        "--network", NETWORK, "--port", mine.port, "--wait", READY, "--timeout", "200",
    )  # fmt: skip
    return str(asked["id"])


def test_what_is_the_users_goes_to_the_next_host_and_nothing_stays_on_the_first(
    bed: Bed, fleet: Fleet, daemons: dict[str, PrivateLibvirtd], mine: Mine
) -> None:
    build = submit(fleet, mine)
    await_guest(fleet, build, "h1")
    [made_first] = {port.id for port in bed.witness.ports()} - {mine.port}
    kill_guests(daemons["h1"])
    await_guest(fleet, build, "h2")
    (first,) = [name for name in ("a", "b") if fleet.claimed(name)]
    fleet.kill(first)
    fleet.until(fleet.all_ended, "end", 240)
    (second,) = {"a", "b"} - {first}
    assert fleet.claimed(second) == ["web"], "the other conductor finished it"

    row = fleet.engine.show(build)
    bed.is_up(row)
    assert row["host"] == "h2"
    assert [(line["host"], line["type"]) for line in row["errors"]] == [("h1", "GuestDied")]
    assert domains(daemons) == {"h1": [], "h2": [build]}
    assert len(bed.taps()) == len(row["network_info"]) == 2
    ports = {port.id: port for port in bed.witness.ports()}
    assert {port.binding_host_id for port in ports.values()} == {"h2"}
    assert {vif["id"] for vif in row["network_info"]} == set(ports)
    assert mine.port in ports, "the user's port was kept"
    assert made_first not in ports, "what the build made was made anew"
    [target] = [t for t in bed.lab.tgt.targets() if t.volume_id == mine.volume]
    assert len(target.sessions) == 1
    assert {each["name"]: each["builds"] for each in fleet.capacity.listed()} == {"h1": 0, "h2": 1}

    assert fleet.call("delete", build)["status"] == "rolled_back"
    bed.nothing_is_left(fleet.engine.show(build), kept_ports=1, look_at_hypervisor=False)
    assert not bed.witness.port(mine.port).binding_host_id, "it is not bound any more"
    assert domains(daemons) == {"h1": [], "h2": []}
    assert list(fleet.capacity.inventory()) == []


def test_when_it_dies_on_every_host_all_is_as_it_was(
    bed: Bed, fleet: Fleet, daemons: dict[str, PrivateLibvirtd], mine: Mine
) -> None:
    build = submit(fleet, mine)
    for host in ("h1", "h2"):
        await_guest(fleet, build, host)
        kill_guests(daemons[host])
    fleet.until(fleet.all_ended, "end", 240)
    row = fleet.engine.show(build)
    assert row["status"] == "rolled_back", (row["fault"], row["residue"])
    attempts = [row["fault"], *row["errors"]]
    died = {line["host"] for line in attempts if line["type"] == "GuestDied"}
    assert died == {"h1", "h2"}, attempts
    code, out, _ = fleet.run("show", "web")
    assert code == 0
    crashed = "in Wait for boot: the guest crashed while it booted"
    # its last console lines follow where it had said any
    lines = [line.strip().partition(";")[0] for line in out.splitlines() if crashed in line]
    assert lines == [
        f"fault {crashed}", f"attempt 1 on h1 {crashed}", f"attempt 2 on h2 {crashed}",
    ]  # fmt: skip
    bed.nothing_is_left(row, kept_ports=1, look_at_hypervisor=False)
    assert not bed.witness.port(mine.port).binding_host_id
    assert domains(daemons) == {"h1": [], "h2": []}
    assert files_below(bed.home / "instances") == []
    assert list(fleet.capacity.inventory()) == []


def test_a_conductor_of_another_home_leaves_it_to_one_that_can_finish_it(
    bed: Bed, fleet: Fleet, daemons: dict[str, PrivateLibvirtd], mine: Mine
) -> None:
    build = submit(fleet, mine)
    await_guest(fleet, build, "h1")
    (first,) = [name for name in ("a", "b") if fleet.claimed(name)]
    (second,) = {"a", "b"} - {first}
    fleet.freeze(second)
    fleet.kill(first)
    with open_directory("bf-other-") as other:
        fleet.start("c", hosts=[], arguments=serving(daemons), home=other)
        fleet.until(lambda: fleet.says("c", "left to others"), "refusal", 60)
        assert f"it is in {bed.home}/instances" in fleet.log("c")
        fleet.send(second, signal.SIGCONT)
        fleet.until(fleet.all_ended, "end", 240)
        assert fleet.claimed("c") == []
        assert "web" in fleet.claimed(second)
        row = fleet.engine.show(build)
        bed.is_up(row)
        assert domains(daemons) == {"h1": [build], "h2": []}
        # with c alone a delete is answered, stays asked for, and is done by who can do it
        fleet.kill(second)
        code, _, said = fleet.run("delete", build)
        assert code == 4
        assert f"it is in {bed.home}/instances" in said
        assert domains(daemons) == {"h1": [build], "h2": []}
        (job,) = fleet.call("jobs")
        assert "not within reach" in job["reason"]
        fleet.start("d", hosts=[], arguments=serving(daemons))
        fleet.until(lambda: not fleet.jobs.listed(), "removal", 120)
        assert fleet.engine.show(build)["status"] == "rolled_back"
        fleet.kill("c")
    bed.nothing_is_left(fleet.engine.show(build), kept_ports=1, look_at_hypervisor=False)
