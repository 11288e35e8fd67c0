"""A real machine from the command line: as who we are, and as a user with no privilege at all."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.bad_luck.stage import BOOTED, SMALL, Stage, told_uuid

pytestmark = [pytest.mark.libvirt, pytest.mark.slow]


def test_the_id_is_the_uuid_that_the_guest_prints_itself(own_stage: Stage, image: Path) -> None:
    prove_one_life(own_stage, image)


def test_the_same_by_a_user_without_any_privilege(powerless: Stage, image: Path) -> None:
    for guest in prove_one_life(powerless, image):
        assert guest != os.geteuid()


def prove_one_life(stage: Stage, image: Path) -> list[int]:
    """Build, look, delete; returns the users that the QEMU processes ran as."""
    before = stage.footprint()
    ran = stage.run(
        "build", "vm1", "--image", str(image), "--memory", "96", *BOOTED, "--json"
    )  # fmt: skip
    assert ran.code == 0, ran.err
    shown = ran.document
    assert shown["status"] == "complete"
    assert (shown["vm_state"], shown["task_state"], shown["power_state"]) == ("active", None, 1)
    directory = next(e["external_id"] for e in shown["effects"] if e["kind"] == "directory")
    assert told_uuid(Path(directory) / "console.log") == shown["id"]
    assert shown["block_device_info"] == {
        "block_device_mapping": [], "root_device_name": "/dev/vda", "ephemerals": [], "swap": None,
    }  # fmt: skip
    guests = [thing for thing in stage.footprint() if thing.startswith("process")]
    assert len(guests) == 1
    owners = [Path(f"/proc/{guest.split()[1]}").stat().st_uid for guest in guests]
    stage.delete("vm1")
    assert stage.footprint() == before
    return owners


def test_a_second_process_waits_for_the_hypervisor_then_gives_up(
    own_stage: Stage, image: Path
) -> None:
    never = ("--wait", "console:NEVER", "--timeout", "200")
    first = own_stage.start("build", "vm1", *SMALL, "--image", str(image), *never)
    wait_for(first, "start  done")
    # what needs the store alone never waits for the hypervisor
    assert own_stage.run("--json", "list").document[0]["status"] == "running"
    assert own_stage.run("--json", "show", "vm1").document["name"] == "vm1"
    assert own_stage.run("--json", "history", "vm1").document
    assert "Wait for boot" in own_stage.run("diagram", "call", "--build", "vm1").out
    began = time.monotonic()
    second = own_stage.build("vm2", "--image", str(image), "--hypervisor-wait", "2")
    assert second.code == 4
    assert 2 <= time.monotonic() - began < 20
    told, refused = second.err.splitlines()
    assert told.startswith(f"waiting for process {first.pid} ")
    assert "in use by process" in refused
    assert second.document["error"]["type"] == "HypervisorBusy"

    patient = own_stage.start("build", "vm3", *SMALL, "--image", str(image), *BOOTED)
    wait_for(patient, "waiting for process")
    assert own_stage.run("cancel", "vm1").code == 0
    _, err = patient.communicate(timeout=120)
    assert patient.returncode == 0, err
    first.communicate(timeout=60)
    assert first.returncode == 1
    assert [row["name"] for row in own_stage.run("--json", "list").document] == ["vm3", "vm1"]
    own_stage.delete("vm3")
    assert not [t for t in own_stage.footprint() if t.startswith(("process", "domain", "build"))]


def wait_for(build: subprocess.Popen[str], words: str) -> None:
    assert build.stderr is not None
    while words not in (line := build.stderr.readline()):
        assert line, f"it ended before {words!r}"
