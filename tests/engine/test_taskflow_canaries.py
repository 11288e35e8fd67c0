"""What TaskFlow does that our engine guards against: upstream's behaviour, and our guard.

When one of the first halves fails after an upgrade, upstream has changed and the guard named in the
second half may go.
"""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from taskflow import engines, retry, states, task
from taskflow.engines.helpers import load_from_detail
from taskflow.patterns import linear_flow, unordered_flow
from taskflow.persistence import backends, models
from taskflow.types import failure as tf_failure

from buildflow.engine.core import Engine
from buildflow.engine.guard import Decision, Intention, decide
from buildflow.engine.persistence import decode_detail, encode_detail
from tests.engine import files


class Note(task.Task):
    """Notes what is done with it."""

    def __init__(
        self, name: str, log: list[str], *, fails: bool = False, bad_undo: int = 0
    ) -> None:
        super().__init__(name)
        self.log, self.fails, self.bad_undo = log, fails, bad_undo

    def execute(self) -> str:
        self.log.append(f"+{self.name}")
        if self.fails:
            raise RuntimeError(self.name)
        return self.name

    def revert(self, *args: Any, **kwargs: Any) -> None:
        if self.bad_undo:
            self.bad_undo -= 1
            raise OSError(f"no undo of {self.name}")
        self.log.append(f"-{self.name}")


def in_memory() -> tuple[Any, Any, Any]:
    backend = backends.fetch({"connection": "memory"})
    book, detail = models.LogBook("book"), models.FlowDetail("flow", "uuid-of-the-flow")
    book.add(detail)
    with contextlib.closing(backend.get_connection()) as connection:
        connection.save_logbook(book)
    return backend, book, detail


# --- B1: a retry's history does not survive a load -----------------------------------------------


def history_of_a_retry() -> models.RetryDetail:
    detail = models.RetryDetail("over hosts", "uuid")
    detail.state, detail.intention = states.SUCCESS, states.EXECUTE
    failed = tf_failure.Failure.from_exception(RuntimeError("h1 is full"))
    detail.results = [("h1", {"a step": failed}), ("h2", {})]
    return detail


def test_b1_upstream_replaces_what_a_retry_provided() -> None:
    detail = history_of_a_retry()
    loaded = models.RetryDetail.from_dict(detail.to_dict())
    assert loaded.results[0][0] != "h1", "fixed upstream: persistence.decode_detail may use it"
    assert isinstance(loaded.results[0][0], dict)


def test_b1_ours_keeps_it() -> None:
    detail = history_of_a_retry()
    row = {
        "name": detail.name, "uuid": detail.uuid, "kind": "RETRY_DETAIL", "state": detail.state,
        "intention": detail.intention, "detail": encode_detail(detail),
    }  # fmt: skip
    loaded = decode_detail(row)
    assert [value for value, _ in loaded.results] == ["h1", "h2"]
    assert next(iter(loaded.results[0][1]["a step"])).endswith("RuntimeError")


# --- B2: what is reverted is run again -----------------------------------------------------------


def test_b2_upstream_runs_a_reverted_flow_again() -> None:
    log: list[str] = []
    flow = linear_flow.Flow("flow").add(Note("a", log), Note("b", log, fails=True))
    backend, book, detail = in_memory()
    engine = engines.load(flow, flow_detail=detail, backend=backend, book=book)
    with pytest.raises(RuntimeError):
        engine.run()
    assert detail.state == states.REVERTED
    again = engines.load(flow, flow_detail=detail, backend=backend, book=book)
    with pytest.raises(RuntimeError):
        again.run()
    assert log.count("+a") == 2, "fixed upstream: a reverted flow is left alone"


def test_b2_ours_never_runs_what_has_ended(engine: Engine, folder: Path) -> None:
    (folder / "boom").touch()
    shown = engine.run(files.three).wait()
    (folder / "boom").unlink()
    row = engine.store.build(shown["id"])
    assert row is not None
    assert decide(row, Intention.RUN) is Decision.NOTHING
    assert engine.resume([shown["id"]])[0].wait()["status"] == "rolled_back"
    engine.carry_out(shown["id"])
    assert files.noted(folder).count("make a") == 1


# --- B3: one revert that raises ends them all, and is forgotten ----------------------------------


def test_b3_upstream_stops_reverting_and_then_calls_it_reverted() -> None:
    log: list[str] = []
    flow = linear_flow.Flow("flow").add(
        Note("a", log), Note("b", log, bad_undo=1), Note("c", log, fails=True)
    )
    backend, book, detail = in_memory()
    engine = engines.load(flow, flow_detail=detail, backend=backend, book=book)
    with pytest.raises(OSError, match="no undo of b"):
        engine.run()
    assert "-a" not in log, "fixed upstream: independent reverts go on"
    engine = engines.load(flow, flow_detail=detail, backend=backend, book=book)
    engine.compile()
    engine.prepare()
    with contextlib.suppress(Exception):
        engine.run()
    assert detail.state == states.REVERTED
    assert "-a" not in log, "fixed upstream: a is reverted after all"


def test_b3_ours_goes_on_and_lists_what_is_left(engine: Engine, folder: Path) -> None:
    (folder / "boom").touch()
    (folder / "stuck-b").touch()
    shown = engine.run(files.three).wait()
    assert shown["status"] == "residue"
    assert files.effects(folder) == ["made-b-1"], "a went, b is listed"
    assert [e["step"] for e in shown["residue"]] == ["b"]


# --- B7: a nested retry that has run out leaves the outer steps ----------------------------------


class Hosts(retry.ForEach):
    """Provides hosts that all fail."""


def nested(log: list[str]) -> Any:
    inner = linear_flow.Flow("inner", retry=Hosts(["h1", "h2"], "hosts", provides="host"))
    inner.add(Note("b", log), Note("c", log, fails=True))
    return linear_flow.Flow("outer").add(Note("a", log), inner)


def test_b7_upstream_reverts_the_inner_flow_alone() -> None:
    log: list[str] = []
    backend, book, detail = in_memory()
    engine = engines.load(nested(log), flow_detail=detail, backend=backend, book=book)
    with pytest.raises(RuntimeError):
        engine.run()
    assert detail.state == states.REVERTED
    assert "-a" not in log, "fixed upstream: runner._OPTIONS needs no defer_reverts"


def test_b7_ours_reverts_the_outer_steps_too() -> None:
    log: list[str] = []
    backend, book, detail = in_memory()
    engine = engines.load(
        nested(log), flow_detail=detail, backend=backend, book=book, defer_reverts=True
    )
    with pytest.raises(RuntimeError):
        engine.run()
    assert "-a" in log
    from buildflow.engine.runner import _OPTIONS

    assert _OPTIONS["defer_reverts"] is True


# --- B8: the factory's name comes in a second commit ---------------------------------------------


def factory() -> Any:
    return linear_flow.Flow("made by a factory").add(Note("a", []))


def test_b8_upstream_saves_the_factory_after_the_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    from taskflow.engines import helpers

    def killed(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(helpers, "save_factory_details", killed)
    backend, book, _ = in_memory()
    with pytest.raises(KeyboardInterrupt):
        engines.load_from_factory(factory, book=book, backend=backend)
    with contextlib.closing(backend.get_connection()) as connection:
        (stored,) = [f for f in connection.get_logbook(book.uuid) if f.uuid != "uuid-of-the-flow"]
    with pytest.raises(ValueError):
        load_from_detail(stored, backend=backend)


def test_b8_ours_accepts_a_build_in_one_commit(engine: Engine) -> None:
    engine.owner_id()
    before = engine.store.journal.commits
    row = engine.accept(files.three, {})
    assert engine.store.journal.commits == before + 1
    (flow,) = engine.store.flows(row["id"])
    assert flow["meta"] == {"factory": "tests.engine.files:three"} == {"factory": row["flow"]}
    assert engine.start(row).wait()["status"] == "complete"


# --- P1: an engine with threads of its own takes a second to end ---------------------------------


def overlapping() -> Any:
    return unordered_flow.Flow("flow").add(Note("a", []), Note("b", []))


def seconds(run: Any) -> float:
    began = time.monotonic()
    run()
    return time.monotonic() - began


def test_p1_upstream_takes_a_second_to_shut_its_pool_down() -> None:
    own = min(seconds(lambda: engines.run(overlapping(), engine="parallel")) for _ in range(2))
    assert own > 0.5, "fixed upstream: the engine may have a pool of its own"


def test_p1_ours_shares_one_pool() -> None:
    with ThreadPoolExecutor(2) as pool:
        shared = min(
            seconds(lambda: engines.run(overlapping(), engine="parallel", executor=pool))
            for _ in range(2)
        )
    assert shared < 0.5


def test_p1_our_engine_with_overlapping_steps_is_quick(engine: Engine, folder: Path) -> None:
    engine.run(files.wide).wait()
    for path in folder.glob("made-*"):
        path.unlink()
    assert seconds(lambda: engine.run(files.wide).wait()) < 0.9
