"""Follows an engine's events on whatever stderr is. Rule: showing never fails or slows a build."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from buildflow.cli.progress.tree import BuildTree, Line

if TYPE_CHECKING:
    from buildflow.engine.run import StepEvent


class Display(Protocol):
    """What shows the trees."""

    def __enter__(self) -> Any: ...
    def __exit__(self, *exc: Any) -> None: ...
    def tell(self, event: StepEvent, line: Line) -> None:
        """A step has changed."""

    def say(self, message: str) -> None:
        """A line of its own."""


class Progress:
    """The listener to give to an engine, and a context manager round the time of showing."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.trees: dict[str, BuildTree] = {}
        self._lock = threading.Lock()
        self._display = None if quiet else _display(self.trees)

    def __enter__(self) -> Progress:
        if self._display is not None:
            self._display.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        if self._display is not None:
            with suppress(OSError, ValueError):  # the terminal has gone
                self._display.__exit__(*exc)

    def follow(
        self,
        build: str,
        name: str,
        flow: Any = None,
        *,
        steps: list[dict[str, Any]] | None = None,
        words: Mapping[str, str] | None = None,
    ) -> None:
        """Show this build from now on.

        `flow` gives its nesting, `steps` how far it had come, `words` what to call a status.
        """
        with self._lock:
            tree = BuildTree(name, flow, words=words)
            if steps is not None:
                tree.preset(steps)
            self.trees[build] = tree

    def ended(self, build: str, status: str) -> None:
        """How it ended, which no event tells."""
        with self._lock:
            self.trees[build].status = status

    def listen(self, event: StepEvent) -> None:
        """An engine's listener."""
        with self._lock:
            tree = self.trees.get(event.build)
            if tree is None:
                tree = self.trees[event.build] = BuildTree(event.build[:8])
            line = tree.apply(event)
            if self._display is not None and line is not None:
                with suppress(OSError, ValueError):
                    self._display.tell(event, line)

    def say(self, message: str) -> None:
        """A line for the user, without disturbing the tree."""
        with suppress(OSError, ValueError):
            if self._display is None:
                _write(message)
            else:
                self._display.say(message)


def _write(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _display(trees: dict[str, BuildTree]) -> Display:
    if sys.stderr.isatty():
        from buildflow.cli.terminal import Terminal

        console = Terminal(stderr=True)
        if not console.is_dumb_terminal:
            from buildflow.cli.progress.live import LiveProgress

            return LiveProgress(console, trees)
    from buildflow.cli.progress.plain import PlainProgress

    return PlainProgress(_write, trees)
