"""A build goes on only with the flow that it was started with; going back needs less."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from buildflow.engine.core import Engine
from buildflow.engine.fingerprint import fingerprint, first_difference
from buildflow.errors import BadInput, DefinitionError, FlowChanged
from tests.engine import files


@pytest.fixture
def left_behind(make_engine: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A build of three files whose owner died in the second; its flow then has another step."""
    from buildflow.errors import StoreError

    engine = make_engine()

    def fails(when: str, unit: Any) -> None:
        if when == "before" and unit.seq == 3:
            raise StoreError("as if the process had died")

    engine.owner_id()
    row = engine.accept(files.three, {})
    engine.store.journal.on_commit = fails
    with pytest.raises(StoreError):
        engine.start(row).wait()
    engine.close()
    assert files.effects(folder) == ["made-a-1", "made-b-1"]
    three = files.three

    def changed(names: list[str] | None = None) -> Any:
        return three(["a", "x", "c"])

    changed.__module__, changed.__qualname__ = "tests.engine.files", "three"
    monkeypatch.setattr(files, "three", changed)
    return str(row["id"])


def test_refused_with_the_first_step_that_differs(
    make_engine: Any, folder: Path, left_behind: str
) -> None:
    engine = make_engine()
    before = files.noted(folder)
    row = engine.store.build(left_behind)
    with pytest.raises(FlowChanged, match="step 'b' is 'x' now") as caught:
        engine.resume([left_behind])[0].wait()
    assert (caught.value.exit_code, caught.value.step) == (4, "b")
    assert files.noted(folder) == before, "nothing was touched"
    assert engine.store.build(left_behind) == row
    (unfit,) = engine.unfit_builds()
    assert (unfit["id"], unfit["step"], unfit["status"]) == (left_behind, "b", "running")


def test_it_can_still_be_rolled_back_as_far_as_its_steps_are_there(
    make_engine: Any, folder: Path, left_behind: str
) -> None:
    engine = make_engine()
    shown = engine.resume([left_behind], revert=True)[0].wait()
    assert shown["status"] == "residue"
    assert [(e["step"], "no step 'b'" in e["reason"]) for e in shown["residue"]] == [("b", True)]
    assert files.effects(folder) == ["made-b-1"]
    (unfit,) = engine.unfit_builds()
    assert unfit["step"] == "b"


def test_the_version_that_started_it_goes_on(
    make_engine: Any, folder: Path, left_behind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    engine = make_engine()
    assert engine.unfit_builds() == []
    assert engine.resume([left_behind])[0].wait()["status"] == "complete"
    assert files.noted(folder).count("make b") == 1


@pytest.mark.parametrize(
    ("now", "step", "what"),
    [
        (["a", "b"], "c", "is 'boom' now"),
        (["a", "b", "c", "d"], "boom", "is 'd' now"),
        (["b", "a", "c"], "a", "is 'b' now"),
    ],
)
def test_differences_are_told(now: list[str], step: str, what: str) -> None:
    found = first_difference(fingerprint(files.three()), fingerprint(files.three(now)))
    assert found is not None
    assert (found[0], what in found[1]) == (step, True)


def test_no_difference_in_what_is_the_same() -> None:
    assert first_difference(fingerprint(files.layered()), fingerprint(files.layered())) is None


def test_a_flow_that_could_not_be_made_again_is_refused(engine: Engine) -> None:
    with pytest.raises(DefinitionError, match="top of a module"):
        engine.run(lambda: files.none())
    with pytest.raises(BadInput, match="can't be called with"):
        engine.run(files.three, {"nonsense": 1})
    assert engine.list() == []
