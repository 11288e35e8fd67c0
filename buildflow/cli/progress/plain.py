"""Progress as plain lines, for a file or a pipe: one for each step, and one for each slow one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from buildflow.cli.progress.mark import Mark
from buildflow.cli.progress.tree import BuildTree, Line
from buildflow.cli.progress.words import duration

if TYPE_CHECKING:
    from buildflow.engine.run import StepEvent

# a step that takes longer than this has a line of its own while it runs
SLOW_S = 1.0


class PlainProgress:
    """Writes a line at a time. A context manager; `tell` is the listener."""

    def __init__(self, write: Callable[[str], None], trees: dict[str, BuildTree]) -> None:
        self.trees = trees
        self._write = write
        self._lock = threading.Lock()
        self._announced: set[int] = set()
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="progress", daemon=True)

    def __enter__(self) -> PlainProgress:
        self._watcher.start()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._over.set()
        self._watcher.join()

    def tell(self, event: StepEvent, line: Line) -> None:
        """A step has changed."""
        mark = line.own
        if mark in (Mark.PENDING, Mark.RUNNING):
            self._announced.discard(id(line))
            return
        tree = self.trees[event.build]
        if mark is Mark.UNDOING:
            self._announced.discard(id(line))
            return
        if mark is Mark.UNDONE and not line.effect:
            return  # nothing was there to be rolled back
        took = duration(line.seconds(tree.clock()))
        detail = f": {line.error}" if mark is Mark.FAILED and line.error else ""
        self._line(tree, f"{line.text}  {mark}  {took}{detail}")

    def say(self, message: str) -> None:
        """A line of its own."""
        self._write(message)

    def _line(self, tree: BuildTree, text: str) -> None:
        with self._lock:
            self._write(f"{tree.name}  {tree.seconds:7.2f} s  {text}")

    def _watch(self) -> None:
        while not self._over.wait(SLOW_S / 4):
            for tree in list(self.trees.values()):
                now = tree.clock()
                for line in list(tree.top.steps()):
                    slow = line.busy and (line.seconds(now) or 0.0) >= SLOW_S
                    if slow and id(line) not in self._announced:
                        self._announced.add(id(line))
                        self._line(tree, f"{line.text}  {line.own} ...")
