"""P8: the process is killed at any step, and another one finishes the job."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from buildflow.api import open_engine
from tests.flows_openstack.bed import Bed

# what a killed process runs: one build, killed when a step comes to a point
_PROGRAM = """
import json, os, signal, sys
from dataclasses import fields
from pathlib import Path
from buildflow.api import open_engine
from buildflow.config import Settings

given = json.loads(sys.argv[1])
names = {field.name for field in fields(Settings)}
settings = Settings(**{k: v for k, v in given["settings"].items() if k in names})

def points(where, step, run):
    if [where, step] == given["at"]:
        os.kill(os.getpid(), signal.SIGKILL)

with open_engine(given["home"], settings=settings, points=points) as engine:
    print(engine.build(**given["request"]).wait(120)["status"])
"""

STEPS = [
    ("execute", "port:0"),
    ("made", "port:0"),
    ("made", "port:0:bind"),
    ("made", "volume:0:reserve"),
    ("made", "volume:0:connect"),
    ("made", "volume:0:attach"),
    ("made", "secret:0"),
    ("made", "define"),
    ("made", "start"),
    ("execute", "Wait for boot"),
]


def kill_at(bed: Bed, where: str, step: str) -> None:
    """Run a build in a process of its own that is killed at that point."""
    settings = {
        "os_cloud": "lab",
        "os_service_cloud": "labsvc",
        "boot_grace_s": 0.5,
        "undo_timeout_s": 5.0,
    }
    given = {
        "home": str(bed.home),
        "settings": settings,
        "at": [where, step],
        "request": bed.request(),
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _PROGRAM, json.dumps(given)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr


def another_process(bed: Bed, *verb: str) -> Any:
    """One verb of the command line in a process of its own: its JSON."""
    done = subprocess.run(
        [
            sys.executable, "-W", "ignore", "-m", "buildflow", *verb, "--json",
            "--home", str(bed.home), "--os-cloud", "lab", "--os-service-cloud", "labsvc",
        ],
        capture_output=True, text=True, check=False, timeout=180,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    return found[0] if isinstance(found, list) else found


@pytest.mark.slow
@pytest.mark.parametrize(("where", "step"), STEPS)
@pytest.mark.parametrize("revert", [False, True], ids=["resumed", "reverted"])
def test_p8_a_killed_build_is_finished_or_undone_by_another_process(
    bed: Bed, where: str, step: str, revert: bool
) -> None:
    bed.settings = replace(bed.settings, connect=None)  # each process opens the home's own root
    kill_at(bed, where, step)
    another_process(bed, "resume", *(["--revert"] if revert else []))
    with open_engine(settings=bed.settings) as reader:
        [row] = [reader.show(listed["id"]) for listed in reader.list()]
    if revert:
        assert row["status"] == "rolled_back", (row["fault"], row["residue"])
    else:
        assert row["status"] == "complete", (row["fault"], row["residue"])
        assert bed.is_running(row["id"])
        [volume_id] = bed.volumes
        assert bed.witness.status(volume_id) == "in-use"
        assert len(bed.witness.attachments(volume_id)) == 1
        assert len(bed.witness.ports()) == 1
        another_process(bed, "delete", row["id"])
        with open_engine(settings=bed.settings) as reader:
            row = reader.show(row["id"])
    bed.nothing_is_left(row, look_at_hypervisor=False)
