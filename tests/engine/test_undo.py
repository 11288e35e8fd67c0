"""Undo: it never gives up half-way, and says what it could not do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from buildflow.engine.core import Engine
from tests.engine import files


def test_a_failure_takes_everything_back(engine: Engine, folder: Path) -> None:
    (folder / "boom").touch()
    shown = engine.run(files.three).wait()
    assert (shown["status"], shown["fault"]["message"]) == ("rolled_back", "boom")
    assert files.effects(folder) == []
    assert [x for x in files.noted(folder) if "remove" in x] == [
        "remove c", "remove b", "remove a",
    ]  # fmt: skip


def test_an_undo_that_raises_is_tried_again(engine: Engine, folder: Path) -> None:
    (folder / "boom").touch()
    (folder / "flaky-b").write_text("2")
    shown = engine.run(files.three).wait()
    assert shown["status"] == "rolled_back"
    assert files.effects(folder) == []


def test_what_stays_is_residue_and_the_others_go(engine: Engine, folder: Path) -> None:
    (folder / "boom").touch()
    (folder / "stuck-b").touch()
    shown = engine.run(files.three).wait()
    assert shown["status"] == "residue"
    assert [(e["step"], e["reason"]) for e in shown["residue"]] == [("b", "Refused: b is stuck")]
    assert files.effects(folder) == ["made-b-1"]
    assert shown["fault"]["message"] == "boom", "the first error stays the fault"
    assert [e["message"] for e in shown["errors"]] == ["b is stuck"]

    # resume and another cleanup in vain change nothing but their own tries
    assert engine.resume() == []
    assert engine.cleanup()[0].wait()["status"] == "residue"
    (folder / "stuck-b").unlink()
    shown = engine.cleanup()[0].wait()
    assert (shown["status"], shown["residue"]) == ("rolled_back", [])
    assert files.effects(folder) == []
    assert engine.cleanup() == []


def test_residue_goes_with_a_delete(engine: Engine, folder: Path) -> None:
    (folder / "boom").touch()
    (folder / "stuck-b").touch()
    build = engine.run(files.three, name="x").wait()["id"]
    (folder / "stuck-b").unlink()
    assert engine.delete(build).wait()["status"] == "rolled_back"
    assert files.effects(folder) == []
    assert engine.delete(build).wait()["status"] == "rolled_back", "a second one has nothing to do"


@pytest.mark.parametrize("parallel", [True, False])
def test_only_what_depends_on_it_waits(make_engine: Any, folder: Path, parallel: bool) -> None:
    (folder / "boom").touch()
    (folder / "stuck-upper0").touch()
    shown = make_engine(parallel=parallel).run(files.layered).wait()
    reasons = {e["step"]: e["reason"] for e in shown["residue"]}
    assert reasons == {
        "upper0": "Refused: upper0 is stuck",
        "lower0": "not tried: upper is still there",
    }
    assert files.effects(folder) == ["made-lower0-1", "made-upper0-1"], "the other tower is gone"


def test_delete_of_a_complete_build(engine: Engine, folder: Path) -> None:
    shown = engine.run(files.three, name="x").wait()
    assert (shown["status"], len(files.effects(folder))) == ("complete", 3)
    assert [step["state"] for step in shown["steps"]] == ["SUCCESS"] * 5
    shown = engine.delete("x").wait()
    assert shown["status"] == "rolled_back"
    assert files.effects(folder) == []
    assert [s["name"] for s in shown["delete_steps"]] == ["remove c", "remove b", "remove a"]


def test_a_delete_that_gets_stuck_is_residue(engine: Engine, folder: Path) -> None:
    build = engine.run(files.three).wait()["id"]
    (folder / "stuck-c").touch()
    shown = engine.delete(build).wait()
    assert (shown["status"], [e["step"] for e in shown["residue"]]) == ("residue", ["c"])
    (folder / "stuck-c").unlink()
    assert engine.cleanup(build)[0].wait()["status"] == "rolled_back"
    assert files.effects(folder) == []


def test_a_result_must_survive_json(engine: Engine, folder: Path) -> None:
    shown = engine.run(files.odd).wait()
    assert (shown["status"], shown["fault"]["type"]) == ("rolled_back", "DefinitionError")
    assert "survive JSON" in shown["fault"]["message"]
    assert files.effects(folder) == []


def test_a_step_that_quits_fails_its_build_alone(engine: Engine, folder: Path) -> None:
    shown = engine.run(files.quits).wait()
    assert (shown["status"], shown["fault"]["message"]) == (
        "rolled_back", "step quits called sys.exit(3)",
    )  # fmt: skip
    assert engine.run(files.none).wait()["status"] == "complete"


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lost_answer_is_settled_by_asking(engine: Engine, folder: Path, when: str) -> None:
    (folder / "lost-b").write_text(when)
    shown = engine.run(files.three).wait()
    assert shown["status"] == "complete"
    log = files.noted(folder)
    assert log.count("make b") == 1, "never twice"
    assert log.count("find b") == 1, "the world was asked"
