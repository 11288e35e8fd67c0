"""Two conductors with an embedded QEMU each, real guests, and one of them killed in mid-build."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.distributed.fleet import Fleet
from tests.lab.directories import open_directory
from tests.lab.guest import GuestImages
from tests.lab.guest.make import MARKER

pytestmark = [
    pytest.mark.libvirt,
    pytest.mark.services,
    pytest.mark.slow,
]


def qemus(build: str) -> list[int]:
    """Pids of the QEMU processes of one build, as the kernel knows them."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                alive = (entry / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
            except OSError:
                continue
            if b"qemu-system" in words[0] and build.encode() in words and alive:
                found.append(int(entry.name))
    return found


@pytest.fixture
def homes() -> Iterator[dict[str, Path]]:
    """A home for each of two hosts, where QEMU can reach it."""
    with open_directory() as directory:
        homes = {name: directory / name for name in ("h1", "h2")}
        for home in homes.values():
            home.mkdir(mode=0o755)
        yield homes


class Pair:
    """The two conductors, and builds whose guests run and have not said yet that they are up."""

    def __init__(self, fleet: Fleet, homes: dict[str, Path], images: GuestImages) -> None:
        self.fleet, self.homes, self.images = fleet, homes, images
        for name, host, vcpus in (("a", "h1", 2), ("b", "h2", 1)):
            served = f"{self.served(host)},vcpus={vcpus},memory=256,disk=10"
            fleet.start(name, hosts=[], arguments=["--host", served], home=homes[host])
        fleet.until(lambda: len(fleet.capacity.listed()) == 2, "both hosts", 90)
        # together they have room for three
        self.builds = [self.submit(name) for name in ("one", "two", "three")]
        fleet.until(lambda: all(self.runs(build) for build in self.builds), "three guests", 180)
        hosts = {build: fleet.engine.show(build)["host"] for build in self.builds}
        self.goes_on, self.goes = [build for build in self.builds if hosts[build] == "h1"]
        (self.other,) = [build for build in self.builds if hosts[build] == "h2"]

    def served(self, host: str) -> str:
        """A host as the command line takes it."""
        return f"{host}=qemu:///embed?root={self.homes[host]}/embed"

    def submit(self, name: str) -> str:
        """A build that ends when its guest has booted."""
        return self.fleet.submit(
            name, image=str(self.images.qcow2), memory_mib=96, virt_type="qemu",
            wait=f"console:{MARKER}", timeout_s=240.0,
        )  # fmt: skip

    def runs(self, build: str) -> bool:
        """Whether a guest was started."""
        return bool(self.fleet.engine.show(build)["power_state"] == 1)

    def stand_by(self) -> None:
        """A process beside b that has h1's hypervisor on standby."""
        arguments = ["--standby", self.served("h1")]
        self.fleet.start("s", hosts=[], arguments=arguments, home=self.homes["h1"])
        self.fleet.await_start("s")


def test_the_guest_of_a_killed_conductor_is_there_once_or_not_at_all(
    new_fleet: Callable[..., Fleet], homes: dict[str, Path], guest_images: GuestImages
) -> None:
    """One conductor is killed in mid-build of two guests; one of them is to be cancelled."""
    fleet = new_fleet(expiry_s=3.0)
    pair = Pair(fleet, homes, guest_images)
    assert fleet.statuses()[pair.goes_on] == fleet.statuses()[pair.goes] == "running"
    first = qemus(pair.goes_on)
    assert len(first) == len(qemus(pair.goes)) == 1
    fleet.kill("a")
    assert fleet.engine.cancel(pair.goes)
    pair.stand_by()
    fleet.until(fleet.all_ended, "end", 240)
    assert fleet.statuses() == {
        pair.goes_on: "complete", pair.goes: "rolled_back", pair.other: "complete",
    }  # fmt: skip
    assert fleet.says("s", "claimed by s")
    assert qemus(pair.goes_on) == first, "the same guest goes on, and there is no other"
    assert len(first) == len(qemus(pair.other)) == 1
    assert qemus(pair.goes) == []
    assert len(list(homes["h1"].glob("instances/*"))) == 1
    # once the host's own conductor has been silent for long enough, the standby answers for it
    fleet.silence("h1")
    fleet.until(lambda: fleet.capacity.listed()[0]["state"] == "standby", "standby", 60)
    for build in (pair.goes_on, pair.other):
        assert fleet.call("delete", build)["status"] == "rolled_back"
        assert qemus(build) == []
    assert [path for home in homes.values() for path in home.glob("instances/*")] == []
