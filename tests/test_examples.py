"""Every example runs as its first lines say, and does what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.guest import GuestImages

EXAMPLES = Path(__file__).parents[1] / "examples"
# the demo has one place, and one run at a time
one_demo = pytest.mark.xdist_group("demo")


def run(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLES / name), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent)},
    )


def test_own_flow(tmp_path: Path) -> None:
    for _ in range(2):  # again, on what the first run has left
        ran = run("own_flow.py", str(tmp_path))
        assert ran.returncode == 0, ran.stderr
        assert ran.stderr == ""
        assert ran.stdout.splitlines()[:5] == [
            "a good one: complete, titled 'Our site'",
            "a bad one: rolled_back: the site has no title",
            "  release: undone",
            "  link: undone",
            "visitors see the site of before",
        ]
    assert len(list((tmp_path / "site" / "releases").iterdir())) == 2


@pytest.mark.libvirt
@pytest.mark.slow
def test_build_vm(guest_images: GuestImages) -> None:
    ran = run("build_vm.py", str(guest_images.qcow2))
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    assert "  Wait for boot: success" in ran.stdout
    assert "it is active at 52:54:00:" in ran.stdout
    assert ran.stdout.endswith("it is deleted; left behind: nothing\n")


@one_demo
@pytest.mark.libvirt
@pytest.mark.slow
def test_demo_again_and_again(guest_images: GuestImages) -> None:
    for _ in range(2):
        ran = run("demo.py")
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert "Traceback" not in ran.stderr
        assert "the same as before it" in ran.stdout
        assert "inventory: nothing, the same as at the beginning" in ran.stdout
        assert "demo-2 failed in Wait for boot: injected failure" in ran.stderr


@one_demo
@pytest.mark.libvirt
@pytest.mark.slow
def test_demo_after_it_was_killed(guest_images: GuestImages) -> None:
    demo = subprocess.Popen(
        [sys.executable, str(EXAMPLES / "demo.py")],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent)},
    )  # fmt: skip
    assert demo.stderr is not None
    while "start  done" not in (line := demo.stderr.readline()):
        assert line
    demo.kill()
    demo.communicate()
    ran = run("demo.py")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "inventory: nothing, the same as at the beginning" in ran.stdout
