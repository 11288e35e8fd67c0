"""What a progress display shows: the flow's nesting, and how each step stands. No terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from taskflow import flow as tf_flow

from buildflow.cli.progress.mark import Mark
from buildflow.diagrams.documented import DOCUMENTED

if TYPE_CHECKING:
    from buildflow.engine.run import StepEvent


# TaskFlow's states; a step that is to be tried again on another host is PENDING anew
_MARKS: Final = {
    "PENDING": Mark.PENDING,
    "RUNNING": Mark.RUNNING,
    "SUCCESS": Mark.DONE,
    "FAILURE": Mark.FAILED,
    "REVERTING": Mark.UNDOING,
    "REVERTED": Mark.UNDONE,
    "REVERT_FAILURE": Mark.RESIDUE,
    "IGNORE": Mark.PENDING,
}
_WORST_FIRST: Final = (
    Mark.RESIDUE, Mark.UNDOING, Mark.FAILED, Mark.UNDONE, Mark.RUNNING,
)  # fmt: skip


@dataclass
class Line:
    """One box of the tree. Seconds are measured here, on the monotonic clock."""

    name: str
    text: str
    inner: list[Line] = field(default_factory=list)
    depth: int = 0
    effect: bool = True
    own: Mark = Mark.PENDING
    failed: bool = False
    started: float | None = None
    ended: float | None = None
    error: str = ""

    @property
    def mark(self) -> Mark:
        """A step's own; a box's is the worst of what it holds, or how far that has come."""
        if not self.inner:
            return self.own
        found = {line.mark for line in self.inner}
        for worst in _WORST_FIRST:
            if worst in found:
                return worst
        if Mark.DONE in found:
            return Mark.RUNNING if Mark.PENDING in found else Mark.DONE
        return Mark.PENDING

    @property
    def broken(self) -> bool:
        """Whether it, or a step in it, has failed; true for good, whatever is undone since."""
        return self.failed or any(line.broken for line in self.inner)

    @property
    def busy(self) -> bool:
        """Whether a step is at work here."""
        if not self.inner:
            return self.own in (Mark.RUNNING, Mark.UNDOING)
        return any(line.busy for line in self.inner)

    @property
    def words(self) -> str:
        """How it stands, in words; a step without an effect has nothing to roll back."""
        mark = self.mark
        if self.inner:
            return str(mark)
        if mark is Mark.UNDONE and not self.effect:
            return "failed" if self.failed else "walked back"
        return f"failed, {mark}" if self.failed and mark is not Mark.FAILED else str(mark)

    @property
    def documented(self) -> bool:
        """Whether the documented call diagram has this box."""
        return self.name in DOCUMENTED

    def seconds(self, now: float) -> float | None:
        """How long it has taken, up to now when it is still at work."""
        if self.inner:
            steps = [line for line in self.steps() if line.started is not None]
            if not steps:
                return None
            ends = [now if line.ended is None else line.ended for line in steps]
            return max(ends) - min(line.started or 0.0 for line in steps)
        if self.started is None:
            return None
        return (now if self.ended is None else self.ended) - self.started

    def steps(self) -> Iterator[Line]:
        """Every step from here down."""
        if not self.inner:
            yield self
        for line in self.inner:
            yield from line.steps()

    def walk(self) -> Iterator[Line]:
        """Every line from here down, in order."""
        yield self
        for line in self.inner:
            yield from line.walk()


class BuildTree:
    """One build as it is shown. `apply` is not called from two threads at once."""

    def __init__(
        self,
        name: str,
        flow: Any = None,
        *,
        words: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._words = words or {}
        self.status = "queued"
        self.clock = clock
        self.began = clock()
        self.top = Line(name, name) if flow is None else _line(flow, 0)
        self._steps = {line.name: line for line in self.top.steps() if line is not self.top}
        # a retry's line would say nothing: what it does shows in the steps that run again
        self._unshown = set() if flow is None else {retry.name for retry in _retries(flow)}

    def apply(self, event: StepEvent) -> Line | None:
        """Take an event in; returns the line that it changed, if any."""
        self.status = event.status
        if event.step in self._unshown:
            return None
        line = self._steps.get(event.step)
        if line is None:  # a step of another flow, such as a rollback's when a delete was asked for
            line = Line(event.step, event.label, depth=1)
            self._steps[event.step] = line
            self.top.inner.append(line)
        mark = _MARKS.get(event.state, line.own)
        now = self.clock()
        if mark in (Mark.RUNNING, Mark.UNDOING):
            line.started, line.ended = now, None
        elif mark is Mark.PENDING:
            line.started = line.ended = None
        else:
            line.ended = now
        if mark is Mark.FAILED:
            line.failed, line.error = True, event.error or ""
        elif mark in (Mark.PENDING, Mark.RUNNING):
            line.failed, line.error = False, ""
        line.own = mark
        return line

    def preset(self, steps: list[dict[str, Any]]) -> None:
        """Take over how the steps stood when an earlier process left them (`show`'s `steps`)."""
        for step in steps:
            line = self._steps.get(step["name"])
            if line is not None:
                line.own = _MARKS.get(step["state"], Mark.PENDING)
                line.failed = step["state"] == "FAILURE"

    @property
    def status_words(self) -> str:
        """The build's status as people are told it."""
        return self._words.get(self.status, self.status.replace("_", " "))

    @property
    def seconds(self) -> float:
        """Since this display began."""
        return self.clock() - self.began


def _line(node: Any, depth: int) -> Line:
    if not isinstance(node, tf_flow.Flow):
        target = getattr(node, "target", node)  # a step that removes stands for the one that made
        effect = getattr(target, "kind", None) is not None
        return Line(node.name, getattr(node, "label", node.name), depth=depth, effect=effect)
    line = Line(node.name, node.name, depth=depth)
    nodes = (inner for inner, _ in node.iter_nodes() if inner is not node.retry)
    line.inner = [_line(inner, depth + 1) for inner in nodes]
    return line


def _retries(flow: Any) -> Iterator[Any]:
    if isinstance(flow, tf_flow.Flow):
        if flow.retry is not None:
            yield flow.retry
        for inner, _ in flow.iter_nodes():
            yield from _retries(inner)
