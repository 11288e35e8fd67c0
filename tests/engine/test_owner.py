"""Ownership: of several processes exactly one works on a build, and a stale one can do no harm."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from buildflow.config import Settings
from buildflow.engine.core import Engine
from buildflow.engine.guard import Intention
from buildflow.engine.store import Store
from buildflow.errors import Conflict, StaleOwner
from tests.crash.forks import KILLED, in_child, spread
from tests.engine import files
from tests.lab.directories import REPOSITORY


def engine_at(home: Path, **options: Any) -> Engine:
    return Engine(Settings(home=home, undo_timeout_s=0.5), home / "files", **options)


def in_many(body: Any, count: int = 6) -> list[str]:
    """What is wrong in `count` processes that all begin at once."""
    begin = time.time() + 0.3

    def at_once(number: int) -> str | None:
        time.sleep(max(0.0, begin - time.time()))
        answer: str | None = body(number)
        return answer

    return spread(range(count), at_once, workers=count)


def test_a_request_id_gives_one_build_to_many_processes(tmp_path: Path, folder: Path) -> None:
    Store(f"sqlite:///{tmp_path / 'buildflow.sqlite'}").close()

    def ask(_number: int) -> str | None:
        with engine_at(tmp_path) as engine:
            shown = engine.run(files.three, request_id="once").wait(60)
            files.note(folder, f"got {shown['id']}")
            return None if shown["status"] == "complete" else str(shown)

    assert in_many(ask) == []
    log = files.noted(folder)
    assert len({line for line in log if line.startswith("got")}) == 1
    assert log.count("make a") == log.count("make c") == 1


def test_a_new_store_is_made_by_one_of_many(tmp_path: Path, folder: Path) -> None:
    def ask(number: int) -> str | None:
        with engine_at(tmp_path) as engine:
            return None if engine.run(files.none).wait(60)["status"] == "complete" else "failed"

    assert in_many(ask) == []
    with engine_at(tmp_path) as engine:
        assert len(engine.list()) == 6


def test_one_of_many_resumes(tmp_path: Path, folder: Path) -> None:
    with engine_at(tmp_path) as engine:
        build = engine.accept(files.three, {}, queue=True)["id"]

    def resume(_number: int) -> str | None:
        with engine_at(tmp_path) as engine:
            try:
                engine.carry_out(build)
            except StaleOwner:
                files.note(folder, "stale")
            return None

    assert in_many(resume) == []
    log = files.noted(folder)
    assert [log.count(f"make {name}") for name in "abc"] == [1, 1, 1]
    with engine_at(tmp_path) as engine:
        assert engine.show(build)["status"] == "complete"


def test_a_name_is_taken_once_and_freed(engine: Engine, folder: Path) -> None:
    first = engine.run(files.three, name="web").wait()
    with pytest.raises(Conflict, match=first["id"]):
        engine.run(files.none, name="web")
    engine.delete("web").wait()
    assert engine.run(files.none, name="web").wait()["status"] == "complete"
    assert engine.show("web")["id"] != first["id"], "the live one has the name"


def test_a_build_whose_owner_lives_is_left_alone(tmp_path: Path, folder: Path) -> None:
    (folder / "slow-b").touch()
    child = _life(tmp_path)
    build = _begun(tmp_path, folder)
    try:
        with engine_at(tmp_path) as engine:
            assert engine.resume() == []
            with pytest.raises(StaleOwner, match="lives"):
                engine.resume([build])
            with pytest.raises(StaleOwner):
                engine.carry_out(build)
    finally:
        (folder / "slow-b").unlink()
        assert child.wait(30) == 0
    with engine_at(tmp_path) as engine:
        assert engine.show(build)["status"] == "complete"


def test_a_build_whose_owner_was_killed_goes_on(tmp_path: Path, folder: Path) -> None:
    (folder / "slow-b").touch()
    child = _life(tmp_path)
    build = _begun(tmp_path, folder)
    child.kill()
    child.wait()
    (folder / "slow-b").unlink()
    with engine_at(tmp_path) as engine:
        (handle,) = engine.resume()
        assert handle.wait(20)["status"] == "complete"
        assert engine.show(build)["status"] == "complete"
    assert files.noted(folder).count("make a") == 1


@pytest.mark.parametrize("asleep_s", [0.2, 1.5])
def test_a_stale_owner_leaves_nothing(tmp_path: Path, folder: Path, asleep_s: float) -> None:
    """Stopped between the commit of an intent and its effect, and woken when all is over.

    After a long sleep it asks before it acts; after a short one it may have acted when its next
    commit is refused, and takes that back.
    """
    child = _life(tmp_path, "sleepy")
    build = _begun(tmp_path, folder, "asleep")
    _stopped(child.pid)
    asleep = time.monotonic()
    with engine_at(tmp_path) as engine:
        engine.carry_out(build, Intention.REVERT, take_over=True)
        assert engine.show(build)["status"] == "rolled_back"
        assert files.effects(folder) == []
        time.sleep(max(0.0, asleep_s - (time.monotonic() - asleep)))
        os.kill(child.pid, signal.SIGCONT)
        assert child.wait(30) == 7, "it says that it has lost the build"
        assert files.effects(folder) == []
        assert engine.show(build)["status"] == "rolled_back"
    if asleep_s > 1:
        assert "make b" not in files.noted(folder), "it asked first"


def test_following_a_build_of_another_process(tmp_path: Path, folder: Path) -> None:
    """The same request in a second process waits for the first one's end."""
    (folder / "slow-b").touch()
    child = _life(tmp_path)
    build = _begun(tmp_path, folder)
    with engine_at(tmp_path) as engine:
        handle = engine.run(files.three, request_id="life")
        assert handle.id == build
        with pytest.raises(TimeoutError):
            handle.wait(0.3)
        (folder / "slow-b").unlink()
        assert handle.wait(30)["status"] == "complete"
    assert child.wait(30) == 0
    assert files.noted(folder).count("make b") == 1


def test_a_delete_takes_over_when_the_owner_dies(tmp_path: Path, folder: Path) -> None:
    (folder / "slow-b").touch()
    child = _life(tmp_path, "deaf")
    build = _begun(tmp_path, folder)
    with engine_at(tmp_path) as engine:
        handle = engine.delete(build)
        with pytest.raises(TimeoutError):
            handle.wait(0.3)
        child.kill()
        child.wait()
        assert handle.wait(30)["status"] == "rolled_back"
    assert files.effects(folder) == []


def _life(home: Path, how: str = "plain") -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.engine.life", str(home), how],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )


def _begun(home: Path, folder: Path, line: str = "make a") -> str:
    deadline = time.monotonic() + 60
    while line not in files.noted(folder):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.1)
    store = Store(f"sqlite:///{home / 'buildflow.sqlite'}")
    row = store.by_request("life")
    store.close()
    assert row is not None
    return str(row["id"])


def _stopped(pid: int) -> None:
    while "T (stopped)" not in Path(f"/proc/{pid}/status").read_text():
        time.sleep(0.01)


def test_a_fork_is_killed_and_its_build_resumed(tmp_path: Path, folder: Path) -> None:
    """An owner is its process: the same engine in a forked child is another one."""

    def body() -> None:
        def die(where: str, subject: str, _run: Any) -> None:
            if (where, subject) == ("made", "b"):
                os.kill(os.getpid(), signal.SIGKILL)

        with engine_at(tmp_path, points=die) as engine:
            engine.run(files.three).wait()

    assert in_child(body) == KILLED
    with engine_at(tmp_path) as engine:
        (handle,) = engine.resume()
        assert handle.wait(20)["status"] == "complete"
    assert files.noted(folder).count("make b") == 1, "what was made but not recorded was found"
