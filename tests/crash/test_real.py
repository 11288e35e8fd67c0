"""Real builds on QEMU, killed: at the end the guest runs and is complete, or it is gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.directories import REPOSITORY, open_directory
from tests.lab.guest import MARKER, GuestImages

KILLS, ROLLBACK_KILLS, BOOTS = 32, 12, 5


@pytest.mark.libvirt
@pytest.mark.slow
def test_real_builds_survive_kills(guest_images: GuestImages) -> None:
    with open_directory() as home:
        program = [sys.executable, "-m", "tests.crash.real_lives", str(home)]
        image = str(guest_images.directory / "guest.qcow2")
        arguments = [image, MARKER, *map(str, (KILLS, ROLLBACK_KILLS, BOOTS))]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "ignore"}
        done = subprocess.run(
            [*program, *arguments], capture_output=True, text=True, env=environment,
            cwd=REPOSITORY, timeout=580, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        assert not _guests(home), "a QEMU of ours still runs"
    cases = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(cases) >= 40
    assert {"made start", "recorded start"} & {case["where"] for case in cases}
    for case in cases:
        assert case["killed"], case
        if case["status"] is None:
            assert case["things"] == 0, case
            continue
        assert case["status"] == ("rolled_back" if case["fails"] else "complete"), case
        assert case["running"] == (not case["fails"]), case
        assert case["domain"] == (not case["fails"]), case
        assert case["residue"] == 0, case
        assert case["audit"]["strays"] == [], case
        assert case["audit"]["lost"] == [], case
        assert case["things"] == [], case
        assert case["marker"] in (None, True), case
    assert sum(case.get("marker") is True for case in cases) == BOOTS


def _guests(home: Path) -> list[int]:
    """Processes whose command line names our folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"qemu" in line and str(home).encode() in line:
                found.append(int(entry.name))
    return found
