"""An exploration on the terminal: how far it is while it goes on, and what it found in a table."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from buildflow.cli.progress.words import duration
from buildflow.faults.explore import Progress
from buildflow.faults.scene import Outcome
from buildflow.faults.several import Result, Several, parts_of

if TYPE_CHECKING:
    from rich.table import Table

# how often a line is written where no line can be written over
_EVERY_S: Final = 5.0
_OUTCOMES: Final = {
    Outcome.COMPLETE: ("COMPLETE", "green"),
    Outcome.ROLLED_BACK: ("GONE", "yellow"),
    Outcome.RESIDUE: ("RESIDUE", "magenta"),
    Outcome.UNFINISHED: ("ENDLESS", "bold red"),
}


@contextmanager
def telling(what: str, *, quiet: bool, say: Callable[[str], None]) -> Iterator[_Teller]:
    """Shows progress on stderr: one line written over in a terminal, else one now and then."""
    teller: _Teller = _Teller(what)
    if not quiet:
        from buildflow.cli.terminal import Terminal

        console = Terminal(stderr=True)
        if console.is_terminal:
            with console.status(what) as status:
                teller.write = status.update
                yield teller
            return
        teller.write, teller.every_s = say, _EVERY_S
    yield teller


class _Teller:
    """Called with the progress; writes what is new of it."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.write: Callable[[str], None] | None = None
        self.every_s = 0.2
        self._told = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if self.write is None or now - self._told < self.every_s:
            return
        self._told = now
        self.write(f"{self.what}: {progress_words(progress)}")


def progress_words(progress: Progress) -> str:
    """`3,120 tried, 1,200 left, about 12 s, 0 broken rules`."""
    left_s = progress.left_s
    about = f", about {duration(left_s)}" if left_s is not None else ""
    return (
        f"{progress.tried:,} tried, {progress.left:,} known to be left{about},"
        f" {progress.violations:,} broken rules"
    )


def table_of(result: Result) -> Table:
    """What became of the single faults, a line a step; of several scenes a line a scene."""
    from rich.table import Table

    several = isinstance(result, Several)
    counts: dict[str, Counter[Outcome]] = defaultdict(Counter)
    points: dict[str, set[str]] = defaultdict(set)
    kinds: dict[str, set[str]] = defaultdict(set)
    broken: Counter[str] = Counter()
    for part in parts_of(result):
        for cell in part.cells:
            line = part.scene if several else cell.step
            counts[line][cell.outcome] += 1
            points[line].add(cell.point)
            kinds[line].add(cell.code)
        if several:
            broken[part.scene] += len(part.failing)
        else:
            broken.update(s.struck[0].visit.step for s in part.failing if s.struck)
    shown = [o for o in Outcome if any(count[o] for count in counts.values())]
    table = Table(box=None, pad_edge=False)
    table.add_column("SCENE" if several else "STEP", no_wrap=True)
    for head in ("POINTS", "KINDS", "FAULTS", *(_OUTCOMES[o][0] for o in shown), "BROKEN"):
        table.add_column(head, justify="right")
    for step, count in counts.items():
        table.add_row(
            step or "start", str(len(points[step])), str(len(kinds[step])), str(count.total()),
            *(f"[{_OUTCOMES[o][1]}]{count[o]}[/]" if count[o] else "-" for o in shown),
            f"[bold red]{broken[step]}[/]" if broken[step] else "-",
        )  # fmt: skip
    return table


def _what(result: Result) -> str:
    return f"{len(result.parts)} scenes" if isinstance(result, Several) else result.scene


def summary(result: Result) -> Iterator[str]:
    """What was decided, and how it ended, in two lines."""
    parts = [f"{result.singles:,} single faults"]
    if result.pairs:
        parts.append(f"{result.pairs:,} ordered pairs")
    if result.randoms:
        parts.append(f"{result.randoms:,} at random")
    yield (
        f"{result.scenarios:,} scenarios of {_what(result)} decided in {duration(result.seconds)}:"
        f" {', '.join(parts)}; {result.executed:,} runs, {result.pruned:,} pruned"
    )
    ended = ", ".join(
        f"{count:,} {word.replace('_', ' ').replace('rolled back', 'gone')}"
        for word, count in sorted(result.outcomes.items())
    )
    yield f"single faults{' and random plans' if result.randoms else ''} ended: {ended}"
    if result.lost:
        yield f"{result.lost:,} could not be decided: two runs at one position went on unlike"
