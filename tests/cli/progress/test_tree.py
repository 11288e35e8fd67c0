"""The tree behind a progress display: what each event makes of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from buildflow.cli.progress.mark import Mark
from buildflow.cli.progress.tree import BuildTree, Line
from buildflow.engine.run import StepEvent
from buildflow.flows.build import build_flow
from buildflow.flows.delete import delete_flow

Tell = Callable[..., Line | None]


class Clock:
    """A clock that stands until it is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tree(clock: Clock) -> BuildTree:
    return BuildTree("vm1", build_flow(name="vm1", image="x"), clock=clock)


def tell(tree: BuildTree, step: str, *states: str, status: str = "running") -> Line | None:
    line = None
    for state in states:
        error = "broken" if state == "FAILURE" else None
        line = tree.apply(StepEvent("id", step, step, state, "", status, error))
    return line


def box(tree: BuildTree, name: str) -> Line:
    return next(line for line in tree.top.walk() if line.name == name)


def test_it_is_nested_as_the_flow_is(tree: BuildTree) -> None:
    assert tree.top.name == "buildinstance"
    spawn = box(tree, "self.driver.spawn")
    assert [line.name for line in spawn.inner] == [
        "_create_image", "to_xml", "_create_domain_and_network", "Wait for boot",
    ]  # fmt: skip
    assert box(tree, "root disk").depth == spawn.depth + 2


def test_the_retry_over_hosts_is_not_a_line(tree: BuildTree) -> None:
    assert tell(tree, "over hosts", "RUNNING") is None
    assert "over hosts" not in [line.name for line in tree.top.walk()]


def test_a_box_is_running_until_all_of_it_is_done(tree: BuildTree, clock: Clock) -> None:
    image = box(tree, "_create_image")
    marks = [image.mark]
    tell(tree, "fetch image", "RUNNING")
    clock.now += 2
    tell(tree, "fetch image", "SUCCESS")
    marks.append(image.mark)
    assert marks == [Mark.PENDING, Mark.RUNNING]
    tell(tree, "root disk", "RUNNING")
    assert image.busy
    clock.now += 1
    tell(tree, "root disk", "SUCCESS")
    assert (image.mark, image.busy, image.seconds(clock.now)) == (Mark.DONE, False, 3.0)
    assert box(tree, "root disk").seconds(clock.now) == 1.0


def test_a_failure_stays_in_sight_while_it_is_rolled_back(tree: BuildTree) -> None:
    tell(tree, "define", "RUNNING", "SUCCESS")
    line = tell(tree, "start", "RUNNING", "FAILURE")
    assert line is not None
    assert (line.mark, line.error, line.words) == (Mark.FAILED, "broken", "failed")
    assert box(tree, "_create_domain_and_network").mark is Mark.FAILED
    tell(tree, "start", "REVERTING", status="rolling_back")
    assert box(tree, "_create_domain_and_network").mark is Mark.UNDOING
    tell(tree, "start", "REVERTED")
    tell(tree, "define", "REVERTING", "REVERTED")
    assert line.words == "failed, rolled back"
    assert box(tree, "define").words == "rolled back"
    assert tree.top.broken


def test_a_step_without_an_effect_is_walked_back(tree: BuildTree) -> None:
    line = tell(tree, "to_xml", "RUNNING", "SUCCESS", "REVERTING", "REVERTED")
    assert line is not None
    assert line.words == "walked back"


def test_residue_weighs_most(tree: BuildTree) -> None:
    tell(tree, "define", "RUNNING", "SUCCESS", "REVERTING", "REVERTED")
    tell(tree, "start", "RUNNING", "SUCCESS", "REVERTING", "REVERT_FAILURE")
    assert tree.top.mark is Mark.RESIDUE


def test_another_attempt_begins_anew(tree: BuildTree) -> None:
    line = tell(tree, "define", "RUNNING", "FAILURE", "REVERTING", "REVERTED", "PENDING")
    assert line is not None
    assert (line.mark, line.failed, line.seconds(0)) == (Mark.PENDING, False, None)
    tell(tree, "define", "RUNNING", "SUCCESS")
    assert (line.mark, line.words) == (Mark.DONE, "done")


def test_a_step_that_the_flow_has_not_is_shown_all_the_same(tree: BuildTree) -> None:
    line = tell(tree, "remove start", "RUNNING")
    assert line in tree.top.inner


def test_a_delete_shows_what_each_step_undoes() -> None:
    tree = BuildTree("vm1", delete_flow(name="vm1", image="x"))
    texts = [line.text for line in tree.top.steps()]
    assert texts[:2] == ["destroy the domain", "undefine the domain"]
    assert all(line.effect for line in tree.top.steps())


def test_a_resumed_build_shows_how_far_it_had_come(tree: BuildTree) -> None:
    tree.preset([{"name": "fetch image", "state": "SUCCESS"}, {"name": "gone", "state": "SUCCESS"}])
    assert box(tree, "fetch image").mark is Mark.DONE
    assert box(tree, "_create_image").mark is Mark.RUNNING


def test_what_a_status_is_called() -> None:
    tree = BuildTree("vm1", words={"rolling_back": "being deleted"})
    tree.status = "rolling_back"
    assert tree.status_words == "being deleted"
    tree.status = "rolled_back"
    assert tree.status_words == "rolled back"
