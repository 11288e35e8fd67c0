"""SIGINT, SIGTERM, SIGHUP at any moment of a real build: rolled back, exit 130, nothing left."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.bad_luck.stage import BOOTED, SMALL, Stage

pytestmark = [pytest.mark.libvirt, pytest.mark.slow]

SEED = 20261122
# what the progress says when the moment has come
MOMENTS = [
    "_prebuild_instance  done", "port:0  done", "root disk  done", "to_xml  done", "define  done",
    "start  done", "Wait for boot  running",
]  # fmt: skip


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_when_a_step_has_been_reached(
    stage: Stage, image: Path, number: signal.Signals, moment: str
) -> None:
    before = stage.footprint()
    build = stage.start("--json", "build", "vm", *SMALL, "--image", str(image), *BOOTED)
    wait_for(build, moment)
    build.send_signal(number)
    out, err = build.communicate(timeout=60)
    assert build.returncode == 130, err
    shown = json.loads(out)
    assert (shown["status"], shown["residue"]) == ("rolled_back", [])
    assert "interrupted: rolling back" in err
    assert "vm was interrupted" in err
    assert stage.footprint() == before


def test_a_second_signal_is_answered_and_leaves_nothing(stage: Stage, image: Path) -> None:
    before = stage.footprint()
    build = stage.start("--json", "build", "vm", *SMALL, "--image", str(image), *BOOTED)
    wait_for(build, "start  done")
    for _ in range(3):
        build.send_signal(signal.SIGINT)
        time.sleep(0.02)
    out, err = build.communicate(timeout=60)
    assert build.returncode == 130, err
    assert "still at it" in err
    assert json.loads(out)["residue"] == []
    assert stage.footprint() == before


def test_a_terminal_that_goes_away(stage: Stage, image: Path) -> None:
    before = stage.footprint()
    build = stage.start("build", "vm", *SMALL, "--image", str(image), *BOOTED)
    wait_for(build, "start  done")
    assert build.stdout is not None
    assert build.stderr is not None
    build.stderr.close()
    build.stdout.close()
    build.send_signal(signal.SIGHUP)
    assert build.wait(timeout=60) == 130
    assert stage.footprint() == before


@pytest.mark.parametrize("attempt", range(10))
def test_a_signal_at_any_instant(stage: Stage, image: Path, attempt: int) -> None:
    """From before Python has loaded to after the guest has booted: no instant leaves anything."""
    rng = random.Random(SEED + attempt)
    number = rng.choice([signal.SIGINT, signal.SIGTERM])
    before = stage.footprint()
    build = stage.start("--json", "--quiet", "build", "vm", *SMALL, "--image", str(image))
    time.sleep(rng.uniform(0.0, 5.0))
    build.send_signal(number)
    out, err = build.communicate(timeout=60)
    assert "Traceback" not in err
    if build.returncode == 0:  # it was too late
        stage.delete("vm")
    else:
        # before our handler is there Python, or the kernel, ends the process as it always does
        assert build.returncode in (130, -number), err
        if out:
            document = json.loads(out)
            assert document.get("status", "rolled_back") == "rolled_back"
    assert stage.footprint() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_after_the_end_changes_nothing(
    stage: Stage, image: Path, number: signal.Signals
) -> None:
    """Built, and said so: whatever comes between that and the process's end, the code is 0."""
    before = stage.footprint()
    build = stage.start("--json", "--quiet", "build", "vm", *SMALL, "--image", str(image))
    assert build.stdout is not None
    out = ""
    while not out.endswith("\n}\n"):
        out += build.stdout.readline()
    while build.poll() is None:  # at each instant that is left
        build.send_signal(number)
        time.sleep(0.002)
    assert json.loads(out)["status"] == "complete"
    assert build.returncode == 0
    stage.delete("vm")
    assert stage.footprint() == before


def test_killed_with_9_and_resumed(own_stage: Stage, image: Path) -> None:
    before = own_stage.footprint()
    build = own_stage.start("build", "vm", *SMALL, "--image", str(image), *BOOTED)
    wait_for(build, "start  done")
    build.kill()
    build.communicate()
    shown = own_stage.run("--json", "show", "vm").document
    assert shown["status"] == "running"
    resumed = own_stage.run("--json", "resume")
    assert resumed.code == 0, resumed.err
    assert [row["status"] for row in resumed.document] == ["complete"]
    assert resumed.document[0]["id"] == shown["id"]
    assert own_stage.run("--json", "resume").document == []
    own_stage.delete("vm")
    assert own_stage.footprint() == before


def test_killed_with_9_and_rolled_back(own_stage: Stage, image: Path) -> None:
    before = own_stage.footprint()
    build = own_stage.start("build", "vm", *SMALL, "--image", str(image), *BOOTED)
    wait_for(build, "define  done")
    build.kill()
    build.communicate()
    resumed = own_stage.run("--json", "resume", "--revert", "vm")
    assert resumed.code == 0, resumed.err
    assert [row["status"] for row in resumed.document] == ["rolled_back"]
    assert own_stage.footprint() == before


def test_cancelled_by_another_process(own_stage: Stage, image: Path) -> None:
    build = own_stage.start(
        "--json", "build", "vm", *SMALL, "--image", str(image), "--wait", "console:NEVER"
    )
    wait_for(build, "start  done")
    cancelled = own_stage.run("--json", "cancel", "vm")
    assert cancelled.code == 0, cancelled.err
    assert cancelled.document["status"] == "rolled_back"
    out, err = build.communicate(timeout=60)
    assert build.returncode == 1, err
    assert json.loads(out)["fault"]["message"].startswith("cancelled")
    assert not {t for t in own_stage.footprint() if t.startswith(("domain", "process", "build"))}


def test_deleted_by_another_process_while_it_is_built(own_stage: Stage, image: Path) -> None:
    build = own_stage.start(
        "--json", "build", "vm", *SMALL, "--image", str(image), "--wait", "console:NEVER"
    )
    wait_for(build, "start  done")
    deleted = own_stage.run("--json", "delete", "vm")
    assert deleted.code == 0, deleted.err
    assert deleted.document["vm_state"] == "deleted"
    build.communicate(timeout=60)
    assert build.returncode == 1
    assert not {t for t in own_stage.footprint() if t.startswith(("domain", "process", "build"))}


def wait_for(build: subprocess.Popen[str], words: str) -> None:
    """Until the progress says so."""
    assert build.stderr is not None
    while words not in (line := build.stderr.readline()):
        assert line, f"it ended before {words!r}"
