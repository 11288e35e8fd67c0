"""Many builds in one process: bounded, in order, batching their commits, ended by close()."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from buildflow.engine.core import Engine
from buildflow.engine.locks import KeyedLocks
from buildflow.errors import BadInput
from tests.engine import files


@pytest.mark.parametrize("size", [1, 3])
def test_no_more_than_allowed_run_at_once_and_in_order(make_engine: Any, size: int) -> None:
    at_once: list[int] = []
    order: list[str] = []
    running: set[str] = set()

    def points(where: str, subject: str, run: Any) -> None:
        if (where, subject) == ("execute", "nap"):
            running.add(run.id)
            order.append(run.id)
            at_once.append(len(running))
        if (where, subject) == ("recorded", "nap"):
            running.discard(run.id)

    engine = make_engine(max_concurrent_builds=size, points=points)
    handles = [engine.run(files.naps) for _ in range(3 * size)]
    for handle in handles:
        handle.wait(60)
    assert max(at_once) == size
    asked = [handle.id for handle in handles]
    # those that begin together may pass each other, and no others
    assert all(abs(order.index(build) - asked.index(build)) < size for build in asked)


def test_close_waits_for_what_runs(make_engine: Any, folder: Path) -> None:
    engine = make_engine()
    handle = engine.run(files.napping)
    engine.close()
    assert handle.done
    with pytest.raises(BadInput, match="closed"):
        engine.start({"id": "x", "status": "queued", "owner": None, "seq": 0, "stop": None})


def test_close_can_cancel_what_runs(make_engine: Any, folder: Path) -> None:
    engine, again = make_engine(), make_engine()
    (folder / "slow-b").touch()
    handle = engine.run(files.three)
    time.sleep(0.2)
    engine.close(cancel=True)
    assert again.show(handle.id)["status"] == "rolled_back"
    assert files.effects(folder) == []


def test_locks_are_held_by_one_and_given_in_order() -> None:
    locks, got, inside = KeyedLocks(), [], []

    def one(number: int) -> None:
        with locks.hold("x"):
            inside.append(number)
            assert len(inside) == 1
            got.append(number)
            time.sleep(0.01)
            inside.pop()

    threads = []
    with locks.hold("x"):
        for number in range(6):
            threads.append(threading.Thread(target=one, args=(number,)))
            threads[-1].start()
            time.sleep(0.02)  # so that they ask in this order
        with locks.hold("y"):
            pass  # another key is free
    for thread in threads:
        thread.join()
    assert got == list(range(6))


def test_who_gives_up_waiting_does_not_block_the_others() -> None:
    locks = KeyedLocks()

    def give_up() -> None:
        raise TimeoutError

    with locks.hold("x"), pytest.raises(TimeoutError), locks.hold("x", give_up):
        raise AssertionError("it was held by two")
    with locks.hold("x"):
        pass


def test_locked_builds_come_one_after_the_other(engine: Engine, folder: Path) -> None:
    handles = [engine.run(files.locked) for _ in range(5)]
    for handle in handles:
        assert handle.wait(60)["status"] == "complete"
    log = files.noted(folder)
    assert [line.split()[0] for line in log] == ["in", "out"] * 5
    assert all(log[n].split()[1] == log[n + 1].split()[1] for n in range(0, 10, 2))


def test_one_fsync_serves_many_builds(make_engine: Any, folder: Path) -> None:
    engine = make_engine(max_concurrent_builds=20)
    journal = engine.store.journal
    write_once = journal._write_once

    def slow(*args: Any, **kwargs: Any) -> None:
        time.sleep(0.002)  # a disk: while it works, others come
        write_once(*args, **kwargs)

    journal._write_once = slow
    commits, units = journal.commits, journal.units
    handles = [engine.run(files.none, {"count": 6}) for _ in range(40)]
    for handle in handles:
        assert handle.wait(60)["status"] == "complete"
    assert journal.units - units >= 40 * 8
    assert (journal.units - units) / (journal.commits - commits) > 3


def test_steps_that_may_overlap_do(make_engine: Any, folder: Path) -> None:
    for n in range(4):
        (folder / f"slow-w{n}").touch()
    began: set[str] = set()

    def points(where: str, subject: str, run: Any) -> None:
        if where == "wait":
            began.add(subject)
            if len(began) == 4:  # all of them wait at the same time: let them go
                for n in range(4):
                    (folder / f"slow-w{n}").unlink(missing_ok=True)

    shown = make_engine(points=points).run(files.wide).wait(30)
    assert shown["status"] == "complete"
    assert len(files.effects(folder)) == 4


def test_one_of_those_that_overlap_fails(make_engine: Any, folder: Path) -> None:
    (folder / "fail-w2").touch()
    shown = make_engine().run(files.wide).wait(30)
    assert (shown["status"], shown["fault"]["step"]) == ("rolled_back", "w2")
    assert files.effects(folder) == []
