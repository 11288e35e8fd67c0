"""Bad luck in the middle of a build: one clear line, exit 1, and everything as it was before."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bad_luck.stage import BOOTED, Stage
from tests.lab.guest import GuestImages

pytestmark = [pytest.mark.libvirt, pytest.mark.slow]


def test_a_guest_that_powers_off_at_once(stage: Stage, guest_images: GuestImages) -> None:
    line = rolled_back(stage, "--image", str(guest_images.variant("poweroff")), *BOOTED)
    assert "failed in Wait for boot: the guest powered off while it booted" in line


def test_the_same_by_a_user_without_any_privilege(
    powerless: Stage, guest_images: GuestImages
) -> None:
    line = rolled_back(powerless, "--image", str(guest_images.variant("poweroff")), *BOOTED)
    assert "powered off" in line


def test_a_guest_that_panics_fails_at_once(stage: Stage, guest_images: GuestImages) -> None:
    began = time.monotonic()
    panics = str(guest_images.variant("panic"))
    line = rolled_back(stage, "--image", panics, *BOOTED, "--timeout", "200")
    assert "failed in Wait for boot: the guest crashed while it booted" in line
    assert "last console lines" in line
    assert time.monotonic() - began < 120


def test_a_marker_that_never_comes(stage: Stage, image: Path) -> None:
    began = time.monotonic()
    line = rolled_back(stage, "--image", str(image), "--wait", "console:NEVER", "--timeout", "4")
    assert "no console line matching 'NEVER' within 4 s" in line
    assert time.monotonic() - began < 60


def test_a_guest_that_says_nothing(stage: Stage, guest_images: GuestImages) -> None:
    line = rolled_back(
        stage, "--image", str(guest_images.variant("silent")), *BOOTED, "--timeout", "4"
    )
    assert "within 4 s" in line


def test_a_disk_that_another_machine_has_locked(own_stage: Stage, image: Path) -> None:
    shared = own_stage.home.parent / "shared.qcow2"
    shutil.copy(image, shared)
    shared.chmod(0o666)
    with locked(shared):
        line = rolled_back(own_stage, "--image", str(shared))
    assert "lock" in line
    assert own_stage.build("vm", "--image", str(shared)).code == 0
    own_stage.delete("vm")


def test_from_another_home_nothing_is_called_gone_that_is_not(
    own_stage: Stage, image: Path
) -> None:
    before = own_stage.footprint()
    assert own_stage.build("vm", "--image", str(image)).code == 0
    there = own_stage.footprint()
    other = Stage(
        own_stage.home.parent / "other", connect=f"qemu:///embed?root={own_stage.home}/embed"
    )
    other.home.mkdir(mode=0o755)
    ran = other.run("--store", f"sqlite:///{own_stage.home}/buildflow.sqlite", "delete", "vm")
    assert ran.code == 4
    assert f"not within reach: it is in {own_stage.home}/instances, " in ran.line
    assert "the same --home" in ran.line
    assert own_stage.footprint() == there
    own_stage.delete("vm")
    assert own_stage.footprint() == before


@contextmanager
def locked(disk: Path) -> Iterator[None]:
    """A QEMU that has the disk open for writing."""
    qemu = subprocess.Popen(
        [
            "qemu-system-x86_64", "-S", "-display", "none", "-machine", "none", "-nodefaults",
            "-blockdev", f"driver=file,node-name=file,filename={disk}",
            "-blockdev", "driver=qcow2,node-name=disk,file=file",
            "-qmp", "stdio",
        ],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert qemu.stdout is not None
        assert b"QMP" in qemu.stdout.readline()  # its disks are open by now
        yield
    finally:
        qemu.kill()
        qemu.communicate()


@pytest.mark.root
def test_a_full_disk_for_machines(own_stage: Stage, image: Path) -> None:
    instances = own_stage.home / "instances"
    instances.mkdir()
    with tiny_disk(instances, "64k"):
        line = rolled_back(own_stage, "--image", str(image))
        assert "No space left" in line or "full" in line
        assert list(instances.iterdir()) == []


@pytest.mark.root
def test_a_disk_that_fills_up_while_the_root_disk_is_made(own_stage: Stage, image: Path) -> None:
    instances = own_stage.home / "instances"
    instances.mkdir()
    with tiny_disk(instances, "128k"):
        line = rolled_back(own_stage, "--image", str(image), "--disk", "64")
        assert "No space left" in line or "full" in line
        assert list(instances.iterdir()) == []


@pytest.mark.root
def test_a_disk_without_room_for_the_store(own_stage: Stage, image: Path) -> None:
    with tiny_disk(own_stage.home, "16k"):
        ran = own_stage.build("vm", "--image", str(image))
        assert ran.code == 4, ran.err
        assert "full" in ran.line or "No space left" in ran.line
        assert not (own_stage.home / "instances").exists()
    assert own_stage.footprint() == set()


@contextmanager
def tiny_disk(place: Path, size: str) -> Iterator[None]:
    """A file system with next to no room, mounted on `place`."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", str(place)], check=True
    )
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize(
    "point",
    ["instance_directory:made", "port_0:made", "root_disk:made", "define:made", "start:made",
     "start:recorded", "wait_for_boot", "finish"],
)  # fmt: skip
def test_a_failure_on_demand(stage: Stage, image: Path, point: str) -> None:
    line = rolled_back(stage, "--image", str(image), "--inject", point)
    assert f"injected failure at {point if ':' in point else point + ':execute'}" in line


def test_an_undo_that_fails_is_residue_and_cleanup_finishes(own_stage: Stage, image: Path) -> None:
    before = own_stage.footprint()
    ran = own_stage.build(
        "vm", "--image", str(image), "--inject", "wait_for_boot", "--inject", "start:undo"
    )
    assert ran.code == 3, ran.err
    assert "could not be undone" in ran.line
    shown = ran.document
    assert shown["status"] == "residue"
    left = {effect["kind"]: effect["reason"] for effect in shown["residue"]}
    assert "injected failure at start:undo" in left["guest"]
    # nothing under a guest that runs was touched
    assert left["disk"].startswith("not tried: guest")
    assert {"domain", "disk", "directory", "port"} <= set(left)
    assert any(thing.startswith("process") for thing in own_stage.footprint())
    cleaned = own_stage.run("--json", "cleanup", "vm")
    assert cleaned.code == 0, cleaned.err
    assert cleaned.document["status"] == "rolled_back"
    assert cleaned.document["residue"] == []
    assert own_stage.footprint() == before
    assert own_stage.run("--json", "--quiet", "cleanup").code == 0


def rolled_back(stage: Stage, *words: str) -> str:
    """Exit 1, everything as before; returns the one line."""
    before = stage.footprint()
    ran = stage.build("vm", *words)
    assert ran.code == 1, f"exit {ran.code}: {ran.err}"
    shown = ran.document
    assert (shown["status"], shown["residue"]) == ("rolled_back", [])
    assert shown["vm_state"] == "error"
    assert shown["fault"]["message"] in ran.line
    assert "rolled back, nothing is left" in ran.line
    assert stage.footprint() == before
    return ran.line
