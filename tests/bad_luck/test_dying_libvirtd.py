"""A libvirtd that dies in mid-start: what became of the start is asked of it when it is back."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest

from tests.bad_luck.conftest import a_stage
from tests.bad_luck.stage import BOOTED, SMALL, Stage
from tests.lab.guest import GuestImages
from tests.lab.libvirt import LabNetwork, PrivateLibvirtd

pytestmark = [pytest.mark.libvirt, pytest.mark.root, pytest.mark.slow]


class DaemonStage(Stage):
    """A stage on a libvirtd of the tests' own; looks at its domains, taps and reservations."""

    daemon: PrivateLibvirtd
    network: LabNetwork

    def footprint(self) -> set[str]:
        """Domains, processes, files, taps, and reservations and ports of the network."""
        connection: Any = libvirt.open(self.daemon.uri)
        try:
            domains = {f"domain {each.name()}" for each in connection.listAllDomains()}
            network = connection.networkLookupByName(self.network.name)
            hosts = {line for line in network.XMLDesc().splitlines() if "<host " in line}
            ports = {f"port {each.UUIDString()}" for each in network.listAllPorts()}
        finally:
            connection.close()
        guests = {f"process {pid}" for pid in self.daemon.guests()}
        taps = {
            f"tap {tap.name}"
            for tap in Path(f"/sys/class/net/{self.network.bridge}/brif").iterdir()
        }
        return {*super().footprint(), *domains, *hosts, *ports, *guests, *taps}


@pytest.fixture(scope="module")
def daemon_stage(capabilities: Path, guest_images: GuestImages) -> Iterator[DaemonStage]:
    with a_stage() as plain:
        directory = plain.home.parent / "libvirt"
        directory.mkdir()
        with PrivateLibvirtd(directory, capabilities) as daemon:
            made = DaemonStage(plain.home, connect=daemon.uri)
            made.daemon, made.network = daemon, daemon.create_network("lab-net")
            yield made


def test_a_machine_on_a_network_and_its_removal(daemon_stage: DaemonStage, image: Path) -> None:
    before = daemon_stage.footprint()
    built = daemon_stage.build("vm", "--image", str(image), *network(daemon_stage), *BOOTED)
    assert built.code == 0, built.err
    vif = built.document["network_info"][0]
    assert vif["address"] in "".join(daemon_stage.footprint())
    assert any(thing.startswith("tap ") for thing in daemon_stage.footprint())
    daemon_stage.delete("vm")
    assert daemon_stage.footprint() == before


def test_a_failure_takes_tap_and_reservation_back(daemon_stage: DaemonStage, image: Path) -> None:
    before = daemon_stage.footprint()
    failed = daemon_stage.build(
        "vm", "--image", str(image), *network(daemon_stage), "--inject", "wait_for_boot"
    )
    assert failed.code == 1, failed.err
    assert "nothing is left" in failed.line
    assert daemon_stage.footprint() == before


def test_an_unknown_network(daemon_stage: DaemonStage, image: Path) -> None:
    before = daemon_stage.footprint()
    ran = daemon_stage.build("vm", "--image", str(image), "--network", "nowhere")
    assert ran.code == 2, ran.err
    assert "nowhere" in ran.line
    assert daemon_stage.footprint() == before


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.3, 0.6])
def test_it_dies_in_mid_start_and_comes_back(
    daemon_stage: DaemonStage, image: Path, delay: float
) -> None:
    before = daemon_stage.footprint()
    build = begin(daemon_stage, image)
    wait_for(build, "define  done")
    time.sleep(delay)
    daemon_stage.daemon.kill9()
    time.sleep(1)
    daemon_stage.daemon.start()
    out, err = build.communicate(timeout=200)
    assert build.returncode in (0, 1), err
    shown = json.loads(out)
    assert shown["residue"] == []
    if build.returncode == 0:
        guests = [t for t in daemon_stage.footprint() if t.startswith("process")]
        assert len(guests) == 1
        daemon_stage.delete("vm")
    else:
        assert "nothing is left" in err
    assert daemon_stage.footprint() == before


def test_it_dies_and_stays_away_until_later(daemon_stage: DaemonStage, image: Path) -> None:
    before = daemon_stage.footprint()
    build = begin(daemon_stage, image, "--timeout", "20")
    wait_for(build, "start  done")
    daemon_stage.daemon.kill9()
    out, err = build.communicate(timeout=400)
    assert build.returncode == 3, err
    shown = json.loads(out)
    assert shown["status"] == "residue"
    assert {"guest", "domain"} <= {effect["kind"] for effect in shown["residue"]}
    assert "buildflow cleanup vm" in err
    daemon_stage.daemon.start()
    cleaned = daemon_stage.run("--json", "cleanup", "vm")
    assert cleaned.code == 0, cleaned.err
    assert daemon_stage.footprint() == before


def test_no_libvirtd_at_all(daemon_stage: DaemonStage, image: Path) -> None:
    stage = Stage(daemon_stage.home, connect="qemu+unix:///system?socket=/nowhere/libvirt-sock")
    before = stage.footprint()
    ran = stage.build("vm", "--image", str(image))
    assert ran.code == 4, ran.err
    assert "cannot reach the hypervisor" in ran.line
    assert stage.footprint() == before


def network(stage: DaemonStage) -> tuple[str, str]:
    return ("--network", stage.network.name)


def begin(stage: DaemonStage, image: Path, *words: str) -> subprocess.Popen[str]:
    return stage.start(
        "--json", "build", "vm", *SMALL, "--image", str(image), *network(stage), *BOOTED, *words
    )


def wait_for(build: subprocess.Popen[str], words: str) -> None:
    assert build.stderr is not None
    while words not in (line := build.stderr.readline()):
        assert line, f"it ended before {words!r}"
