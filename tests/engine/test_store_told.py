"""A store that fails, as the command line tells it: one clear line, exit code 4, nothing lost."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pwd
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash.forks import in_child
from tests.lab.directories import open_directory

pytestmark = pytest.mark.slow

BUILD = ("build", "--image", "cirros", "--wait", "power")


def told(
    home: Path, *verb: str, preexec: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    """One call of the command line, on a simulated world."""
    return subprocess.run(
        [
            sys.executable, "-W", "ignore", "-m", "buildflow", "--home", str(home),
            "--compute-driver", "simulated", "--quiet", *verb,
        ],
        capture_output=True, text=True, timeout=120, check=False, preexec_fn=preexec,
    )  # fmt: skip


def is_one_clear_line(code: int, err: str, *words: str) -> bool:
    """Exit code 4 and one line that holds each of `words`."""
    lines = err.strip().splitlines()
    return code == 4 and len(lines) == 1 and all(word in lines[0] for word in words)


def statuses(home: Path) -> dict[str, str]:
    """Name to status."""
    done = told(home, "--json", "list")
    assert done.returncode == 0, done.stderr
    return {row["name"]: row["status"] for row in json.loads(done.stdout)}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A store with one complete build."""
    assert told(tmp_path, *BUILD, "old").returncode == 0
    return tmp_path


def test_a_disk_that_fills_up_in_the_middle_of_a_build(home: Path) -> None:
    for limit in (40_000, 120_000):  # before it is accepted, and in the middle of it

        def small(bytes_: int = limit) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, bytes_))

        done = told(home, *BUILD, f"at-{limit}", preexec=small)
        assert is_one_clear_line(done.returncode, done.stderr, "disk", "full", "resume"), done
    left = statuses(home)
    assert left["old"] == "complete"
    assert told(home, "resume").returncode == 0
    after = statuses(home)
    assert set(after) == set(left)
    assert set(after.values()) == {"complete"}
    assert len(after) > 1, "the second limit is reached in the middle of a build"
    with sqlite3.connect(home / "buildflow.sqlite") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_database_that_another_process_keeps_locked(home: Path) -> None:
    other = sqlite3.connect(home / "buildflow.sqlite", isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        done = told(home, *BUILD, "new")
        assert is_one_clear_line(done.returncode, done.stderr, "locked", "another process"), done
        assert statuses(home) == {"old": "complete"}, "who only looks is not kept out"
        other.execute("ROLLBACK")
    finally:
        other.close()
    assert told(home, *BUILD, "new").returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_folder_that_is_read_only() -> None:
    nobody = pwd.getpwnam("nobody")
    with open_directory() as home:
        assert told(home, *BUILD, "old").returncode == 0
        from buildflow.cli import main

        def body() -> list[list[object]]:
            for each in (("list",), ("resume",), (*BUILD, "--help")):  # while it may still be read
                with contextlib.redirect_stdout(io.StringIO()):
                    main(["--home", str(home), *each])
            os.setgid(nobody.pw_gid)
            os.setuid(nobody.pw_uid)
            found: list[list[object]] = []
            for verb in (("list",), (*BUILD, "new"), ("resume",)):
                err = io.StringIO()
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
                    code = main(["--home", str(home), "--compute-driver", "simulated", *verb])
                found.append([code, err.getvalue()])
            return found

        for code, err in in_child(body):
            assert is_one_clear_line(code, err, "store"), (code, err)
            assert "read-only" in err or "may be written" in err
        assert statuses(home) == {"old": "complete"}
