"""Cancel, interrupt, deadlines and delete: they all stop at a safe point and leave nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from buildflow.engine.core import Engine
from tests.engine import files
from tests.lab.directories import REPOSITORY


def started(folder: Path, line: str, timeout: float = 20) -> None:
    """Wait until a step has said so."""
    deadline = time.monotonic() + timeout
    while line not in files.noted(folder):
        assert time.monotonic() < deadline, files.noted(folder)
        time.sleep(0.01)


def test_cancel_of_a_waiting_step(engine: Engine, folder: Path) -> None:
    (folder / "slow-b").touch()
    handle = engine.run(files.three)
    started(folder, "make a")
    time.sleep(0.1)
    began = time.monotonic()
    assert handle.cancel()
    shown = handle.wait(20)
    assert time.monotonic() - began < 2
    assert (shown["status"], shown["fault"]["message"]) == ("rolled_back", "cancelled")
    assert files.effects(folder) == []
    assert not handle.cancel(), "it has ended"


def test_cancel_from_another_process(engine: Engine, folder: Path, tmp_path: Path) -> None:
    (folder / "slow-b").touch()
    handle = engine.run(files.three, name="x")
    started(folder, "make a")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.engine.life", str(tmp_path), "cancels"],
        cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    began = time.monotonic()
    shown = handle.wait(20)
    assert time.monotonic() - began < 2
    assert (shown["status"], shown["stop"]) == ("rolled_back", "cancelled")
    assert files.effects(folder) == []


def test_cancel_in_a_call_in_flight(engine: Engine, folder: Path) -> None:
    handle = engine.run(files.napping)
    started(folder, "nap nap")
    handle.cancel()
    shown = handle.wait(20)
    assert shown["status"] == "rolled_back"
    assert "make b" not in files.noted(folder)
    assert files.effects(folder) == []


def test_interrupt_reaches_what_runs_and_what_waits(make_engine: Any, folder: Path) -> None:
    engine = make_engine(max_concurrent_builds=1)
    (folder / "slow-a").touch()
    handles = [engine.run(files.three) for _ in range(3)]
    time.sleep(0.2)
    engine.interrupt()
    assert [h.wait(20)["status"] for h in handles] == ["rolled_back"] * 3
    assert all(h.wait()["fault"]["message"] == "interrupted" for h in handles)
    assert files.effects(folder) == []


def test_deadline_of_a_build(engine: Engine, folder: Path) -> None:
    (folder / "slow-b").touch()
    shown = engine.run(files.three, timeout_s=0.3).wait(20)
    assert shown["status"] == "rolled_back"
    assert shown["fault"]["message"].startswith("deadline")
    assert files.effects(folder) == []


def test_deadline_of_a_step(make_engine: Any, folder: Path) -> None:
    (folder / "slow-b").touch()
    shown = make_engine(step_timeout_s=0.3).run(files.three).wait(20)
    assert (shown["status"], shown["fault"]["type"]) == ("rolled_back", "DeadlineExceeded")
    assert files.effects(folder) == []


def test_deadline_that_passed_while_nobody_was_there(make_engine: Any, folder: Path) -> None:
    engine = make_engine()
    engine.accept(files.three, {}, timeout_s=0.01, queue=True)
    time.sleep(0.05)
    (handle,) = engine.resume()
    shown = handle.wait(20)
    assert shown["status"] == "rolled_back"
    assert files.effects(folder) == []


def test_a_wait_for_a_lock_can_be_cancelled(engine: Engine, folder: Path) -> None:
    (folder / "hold").touch()
    first = engine.run(files.locked)
    started(folder, f"in {first.id}")
    second = engine.run(files.locked)
    time.sleep(0.2)
    second.cancel()
    assert second.wait(20)["status"] == "rolled_back"
    assert f"in {second.id}" not in files.noted(folder)
    (folder / "hold").unlink()
    assert first.wait(20)["status"] == "complete"


def test_a_build_complete_before_the_cancel_stays(engine: Engine, folder: Path) -> None:
    handle = engine.run(files.three)
    handle.wait()
    assert not handle.cancel()
    assert engine.show(handle.id)["status"] == "complete"


@pytest.mark.parametrize("reason", ["cancelled", "deleted"])
def test_a_request_round_every_commit_wins(make_engine: Any, folder: Path, reason: str) -> None:
    """It lands right before or right after each commit of a build, by another connection."""
    total = 0
    probe = make_engine(watch_s=None)
    commits: list[str] = []
    probe.store.journal.on_commit = lambda when, unit: commits.append(when)
    probe.run(files.three).wait()
    total = len(commits)
    assert total > 8
    outcomes = set()
    for number in range(3, total + 1):  # 1 and 2 belong to the acceptance
        for path in folder.glob("made-*"):
            path.unlink()
        engine = make_engine(watch_s=None)
        engine.owner_id()
        row = engine.accept(files.three, {})
        passed = 0

        def on_commit(when: str, unit: Any, at: int = number, build: str = row["id"]) -> None:
            nonlocal passed
            if unit.build == build and unit.free is None:
                passed += 1
                if passed == at - 2:
                    probe.store.request_stop(build, reason)

        engine.store.journal.on_commit = on_commit
        shown = engine.start(row).wait(20)
        if reason == "deleted":
            shown = engine.delete(row["id"]).wait(20)
        outcomes.add(shown["status"])
        complete = shown["status"] == "complete"
        assert complete == bool(files.effects(folder)), (number, shown["status"])
        # only a request that came after the last commit of the build comes too late for a cancel
        assert not complete or (reason == "cancelled" and passed <= number - 2), number
    assert "rolled_back" in outcomes
