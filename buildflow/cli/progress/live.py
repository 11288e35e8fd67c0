"""The live tree of a terminal: the documented boxes, and their inside where something happens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from buildflow.cli.progress.mark import Mark
from buildflow.cli.progress.tree import BuildTree, Line
from buildflow.cli.progress.words import SIGNS, STATUS_STYLES, duration

if TYPE_CHECKING:
    from buildflow.engine.run import StepEvent

# lines that rich needs for the cursor and that a heading takes
_MARGIN = 3
REFRESH_PER_S = 8


class LiveProgress:
    """Draws its builds anew several times a second. A context manager; `tell` is the listener."""

    def __init__(self, console: Console, trees: dict[str, BuildTree]) -> None:
        self.trees = trees
        self._live = Live(
            self, console=console, refresh_per_second=REFRESH_PER_S, redirect_stdout=False
        )

    def __enter__(self) -> LiveProgress:
        self._live.start(refresh=False)
        return self

    def __exit__(self, *exc: Any) -> None:
        self._live.stop()

    def tell(self, event: StepEvent, line: Line) -> None:
        """The tree has changed; the next refresh will show it."""

    def say(self, message: str) -> None:
        """A line above the tree."""
        self._live.console.print(Text(message))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = (options.height or console.height) - _MARGIN
        for tree in list(self.trees.values()):
            lines = list(tree_lines(tree, console, room // max(len(self.trees), 1)))
            yield from lines


def tree_lines(tree: BuildTree, console: Console, room: int) -> Iterator[Text]:
    """The heading of a build and as much of its tree as `room` lines hold."""
    ascii_only = console.options.ascii_only
    heading = Text.assemble(
        (tree.name, "bold"), "  ",
        (tree.status_words, STATUS_STYLES.get(tree.status, "")), "  ",
        (duration(tree.seconds), "dim"), no_wrap=True, overflow="ellipsis",
    )  # fmt: skip
    yield heading
    shown = _that_fit(tree.top, room - 1)
    now = tree.clock()
    width = max((2 * line.depth + len(line.text) for line in shown), default=0) + 4
    for line in shown:
        yield _text(line, now, width, ascii_only)


def _text(line: Line, now: float, width: int, ascii_only: bool) -> Text:
    mark = line.mark
    sign, plain_sign, style = SIGNS[mark]
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append("  " * (line.depth + 1))
    text.append(f"{plain_sign if ascii_only else sign} ", style)
    text.append(line.text, "dim" if mark is Mark.PENDING else "bold" if line.busy else "")
    if mark is Mark.PENDING:
        return text
    text.append(" " * (width - 2 * line.depth - len(line.text)))
    words = line.words
    text.append(f"{duration(line.seconds(now)):>9}  ", "dim")
    text.append(words, style)
    if line.error and not line.inner:
        text.append(f": {line.error}", "red")
    return text


def _that_fit(top: Line, room: int) -> list[Line]:
    """The most telling choice of lines that fits."""
    for choose in (_all_that_matters, _documented_and_busy, _busy_only):
        lines = [line for line in top.walk() if choose(line)]
        opened = _with_inside(lines, top) if choose is _all_that_matters else lines
        if len(opened) <= room:
            return opened
    return opened[:room]


def _all_that_matters(line: Line) -> bool:
    return line.documented or line.broken or line.busy or line.depth <= 1


def _documented_and_busy(line: Line) -> bool:
    return line.documented or (line.busy and not line.inner)


def _busy_only(line: Line) -> bool:
    return line.busy or (line.broken and not line.inner)


def _with_inside(lines: list[Line], top: Line) -> list[Line]:
    """The lines, and beside each step that is at work or has failed those of the same box."""
    chosen = {id(line) for line in lines}
    for box in top.walk():
        if any(not inner.inner and (inner.busy or inner.failed) for inner in box.inner):
            chosen |= {id(inner) for inner in box.inner}
    return [line for line in top.walk() if id(line) in chosen]
