"""Where lines go: rich consoles whose reader may go away without changing how we end."""

from __future__ import annotations

from typing import Any, Self

from rich.console import Console

from buildflow.cli.streams import let_go_of_closed_streams


class Terminal(Console):
    """A console on stdout or stderr, without rich's colouring of numbers and paths."""

    def __init__(self, *, stderr: bool = False, soft_wrap: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, soft_wrap=soft_wrap)

    @classmethod
    def for_tables(cls) -> Self:
        """One on stdout for rows of columns: a pipe has no width, so each keeps its one line."""
        console = cls()
        if not console.is_terminal:
            console.width = 400
        return console

    def print(self, *objects: Any, **options: Any) -> None:
        """See Console.print. Where lines have no width they end where their text does."""
        if self.is_terminal:
            super().print(*objects, **options)
            return
        with self.capture() as captured:
            super().print(*objects, **options)
        lines = "\n".join(line.rstrip() for line in captured.get().split("\n"))
        super().print(lines, end="", markup=False, emoji=False, soft_wrap=True)

    def on_broken_pipe(self) -> None:
        """The reader has read enough: go on, and write to nobody."""
        self.quiet = True
        let_go_of_closed_streams()
