"""Every example runs as the README says, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.directories import open_directory
from tests.lab.guest import GuestImages

ROOT = Path(__file__).resolve().parent.parent


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_flow_of_ones_own_is_published_and_taken_back(tmp_path: Path) -> None:
    first = _run("examples/own_flow.py", str(tmp_path))
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("complete:")
    assert first.stdout.endswith("files: 2\n")
    second = _run("examples/own_flow.py", str(tmp_path), "fail")
    assert second.returncode == 1
    assert "nobody listens" in second.stdout
    assert second.stdout.endswith("files: 2\n")  # those of the first run


@pytest.mark.libvirt
def test_a_machine_from_python(guest_images: GuestImages) -> None:
    with open_directory() as directory:  # QEMU runs as another user when we are root
        ran = _run("examples/build_vm.py", str(guest_images.qcow2), str(directory / "home"))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "example is active as" in ran.stdout
    assert "example is deleted, left: nothing" in ran.stdout


@pytest.mark.libvirt
def test_the_demo_builds_rolls_back_and_leaves_nothing(
    guest_images: GuestImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_directory() as directory:
        monkeypatch.setenv("BUILDFLOW_HOME", str(directory / "home"))
        ran = _run("examples/demo.py")
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    assert "rolled back, nothing is left" in ran.stdout + ran.stderr
    assert "inventory: nothing, the same as at the beginning" in ran.stdout
