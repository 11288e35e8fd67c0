"""How marks and durations look on a terminal. Rule: no meaning by colour alone."""

from __future__ import annotations

from typing import Final

from buildflow.cli.progress.mark import Mark

# mark -> (sign, sign where the terminal knows ASCII only, rich style)
SIGNS: Final[dict[Mark, tuple[str, str, str]]] = {
    Mark.PENDING: ("·", ".", "dim"),
    Mark.RUNNING: ("▶", ">", "bold cyan"),
    Mark.DONE: ("✓", "+", "green"),
    Mark.FAILED: ("✗", "x", "bold red"),
    Mark.UNDOING: ("↺", "<", "bold yellow"),
    Mark.UNDONE: ("↩", "-", "yellow"),
    Mark.RESIDUE: ("!", "!", "bold magenta"),
}

STATUS_STYLES: Final[dict[str, str]] = {
    "queued": "dim",
    "running": "bold cyan",
    "rolling_back": "bold yellow",
    "complete": "bold green",
    "rolled_back": "yellow",
    "residue": "bold magenta",
}


def status_words(status: str) -> str:
    """`rolling_back` as people write it."""
    return status.replace("_", " ")


def duration(seconds: float | None) -> str:
    """Seconds for people: `0.02 s`, `12.3 s`, `2 min 05 s`."""
    if seconds is None:
        return ""
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60:02d} s"
