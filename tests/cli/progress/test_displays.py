"""The live tree and the plain lines, as they are read."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console, Group

from buildflow.cli.progress.follow import Progress
from buildflow.cli.progress.live import tree_lines
from buildflow.cli.progress.plain import PlainProgress
from buildflow.cli.progress.tree import BuildTree
from buildflow.cli.progress.words import SIGNS, duration
from buildflow.engine.run import StepEvent
from buildflow.flows.build import build_flow


def a_flow() -> Any:
    return build_flow(name="vm1", image="x")


@pytest.fixture
def tree() -> BuildTree:
    return BuildTree("vm1", a_flow())


def event(step: str, state: str, *, build: str = "id", status: str = "running") -> StepEvent:
    error = "it broke" if state == "FAILURE" else None
    return StepEvent(build, step, step, state, "", status, error)


def drawn(tree: BuildTree, *, height: int = 40, width: int = 100, encoding: str = "utf-8") -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, force_terminal=True, width=width, height=height, color_system=None)
    console.print(Group(*tree_lines(tree, console, height)))
    file.seek(0)
    return file.read()


DOCUMENTED = ["_prebuild_instance", "_build_instance", "self.driver.spawn", "Wait for boot"]


def test_the_documented_boxes_are_always_there(tree: BuildTree) -> None:
    text = drawn(tree)
    assert all(f"· {name}" in text for name in DOCUMENTED)
    assert "root disk" not in text


def test_a_box_in_which_a_step_is_at_work_is_open(tree: BuildTree) -> None:
    tree.apply(event("root disk", "RUNNING"))
    text = drawn(tree)
    assert "▶ root disk" in text
    assert "fetch image" in text
    assert "define" not in text
    tree.apply(event("root disk", "SUCCESS"))
    assert "root disk" not in drawn(tree)


def test_a_failure_is_shown_with_its_reason(tree: BuildTree) -> None:
    tree.apply(event("start", "RUNNING"))
    tree.apply(event("start", "FAILURE"))
    text = drawn(tree)
    assert "✗ start" in text
    assert "failed: it broke" in text


def test_it_fits_a_low_and_narrow_terminal(tree: BuildTree) -> None:
    for step in ("fetch image", "root disk", "define", "start"):
        tree.apply(event(step, "RUNNING"))
        tree.apply(event(step, "FAILURE"))
    text = drawn(tree, height=8, width=30)
    lines = text.splitlines()
    assert len(lines) <= 8
    assert all(len(line) <= 30 for line in lines)


def test_no_meaning_by_colour_alone() -> None:
    signs = [sign for sign, _, _ in SIGNS.values()]
    ascii_signs = [sign for _, sign, _ in SIGNS.values()]
    assert len(set(signs)) == len(set(ascii_signs)) == len(SIGNS)


def test_a_terminal_that_knows_ascii_only(tree: BuildTree) -> None:
    tree.apply(event("root disk", "RUNNING"))
    text = drawn(tree, encoding="ascii")
    assert text.isascii()
    assert "> root disk" in text


@pytest.fixture
def lines(tree: BuildTree) -> list[str]:
    written: list[str] = []
    with PlainProgress(written.append, {"id": tree}) as plain:

        def tell(step: str, *states: str) -> None:
            for state in states:
                happened = event(step, state)
                line = tree.apply(happened)
                if line is not None:
                    plain.tell(happened, line)

        tell("root disk", "RUNNING", "SUCCESS")
        tell("to_xml", "RUNNING", "FAILURE", "REVERTING", "REVERTED")
        tell("root disk", "REVERTING", "REVERTED")
    return written


def test_plain_lines_say_what_ended_and_what_was_rolled_back(lines: list[str]) -> None:
    told = [line.split(" s  ", 1)[1] for line in lines]
    assert told == [
        "root disk  done  0.00 s",
        "to_xml  failed  0.00 s: it broke",
        "root disk  rolled back  0.00 s",
    ]


def test_where_stderr_is_no_terminal_there_are_plain_lines(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with Progress() as progress:
        progress.follow("id", "vm1", a_flow())
        progress.listen(event("root disk", "RUNNING"))
        progress.listen(event("root disk", "SUCCESS"))
        progress.listen(event("strange", "SUCCESS", build="other-build"))
        progress.say("a word")
        progress.ended("id", "complete")
    err = capfd.readouterr().err
    assert "root disk  done" in err
    assert "a word" in err
    assert "other-bu" in err
    assert "\x1b" not in err


def test_quiet_shows_nothing_but_what_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    with Progress(quiet=True) as progress:
        progress.follow("id", "vm1")
        progress.listen(event("root disk", "SUCCESS"))
        progress.say("waiting for another process")
    assert capfd.readouterr().err == "waiting for another process\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.004, "0.00 s"), (9.99, "9.99 s"), (12.34, "12.3 s"), (125.0, "2 min 05 s")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
