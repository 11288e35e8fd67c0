"""A program for tests: a scenario is killed at all of its instants, and what was wrong is told.

    python -m tests.crash.sweeps SWEEP SCENARIO FOLDER

A process of its own, for the sweeps fork thousands of times, and a test runner is large by the time
it comes to them: the kernel copies its tables at each fork, and then its pages one by one.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.crash import scenarios
from tests.crash.bed import Bed
from tests.crash.five import FLOWS, FiveBed
from tests.crash.forks import numbered, spread
from tests.lab.directories import REPOSITORY

PAIRS: Final = 2000
SEED: Final = 20260101
# which part of the pairs each scenario gets
SHARES: Final = {
    scenarios.SUCCESS.name: 0.25,
    scenarios.RESCHEDULED.name: 0.25,
    scenarios.NO_HOST_LEFT.name: 0.15,
    scenarios.GUEST_STAYS.name: 0.15,
    scenarios.CANCELLED.name: 0.1,
    scenarios.DELETE.name: 0.1,
}


@dataclass
class Swept:
    """How the scenario ends when nobody is killed, how many deaths there were, what was wrong."""

    end: dict[str, Any]
    deaths: int
    complaints: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{len(self.complaints)} of {self.deaths}: " + "\n".join(self.complaints[:5])


def every_instant(scenario: str, folder: Path) -> Swept:
    """Every instant of one scenario, once."""
    bed = Bed(scenarios.BY_NAME[scenario], folder)
    wrong = bed.complaint(bed.expected)
    if wrong is not None:
        return Swept(bed.expected["row"], 0, [f"nobody was killed: {wrong}"])
    kills = numbered(len(bed.instants))
    return Swept(bed.expected["row"], len(kills), spread(kills, bed.judge))


def every_name(scenario: str, folder: Path) -> Swept:
    """Right before and right after all that is committed, made or undone, where steps overlap."""
    bed = Bed(scenarios.BY_NAME[scenario], folder)
    return Swept(bed.expected["row"], len(bed.names), spread(bed.names, bed.judge))


def by_chance(scenario: str, folder: Path) -> Swept:
    """Every instant, where it is chance what the n-th one is."""
    bed = Bed(scenarios.BY_NAME[scenario], folder)
    kills = numbered(len(bed.instants))
    return Swept(bed.expected["row"], len(kills), spread(kills, bed.judge_by_chance))


def twice(scenario: str, folder: Path) -> Swept:
    """A second kill during the resume: a seeded sample of all pairs of instants."""
    bed = Bed(scenarios.BY_NAME[scenario], folder)
    rng = random.Random(f"{SEED} {scenario}")
    count = len(bed.instants)
    pairs: dict[int, list[int]] = defaultdict(list)
    number = int(PAIRS * SHARES[scenario])
    for _ in range(number):
        first = rng.randint(1, count)
        # a kill in what is left to do, as far as that is known; forward and back differ in length
        pairs[first].append(rng.randint(1, max(4, count - first + 6)))

    def judge(first: int) -> str | None:
        return "; ".join(bed.judge_resumes(first, pairs[first])) or None

    return Swept(bed.expected["row"], number, spread(list(pairs), judge))


def five_files(name: str, folder: Path) -> Swept:
    """Five files: every instant, once."""
    bed = FiveBed(folder, **FLOWS[name])
    kills = numbered(len(bed.instants))
    return Swept(bed.expected, len(kills), spread(kills, bed.judge))


def five_files_twice(name: str, folder: Path) -> Swept:
    """Five files: every ordered pair of instants."""
    bed = FiveBed(folder, **FLOWS[name])
    # a resume passes two instants more than a build: it claims
    count = len(bed.instants)
    second = numbered(count + 2)

    def judge(first: int) -> str | None:
        return "; ".join(bed.judge_resumes(first, second)) or None

    return Swept(bed.expected, count * len(second), spread(numbered(count), judge))


Sweep = Callable[[str, Path], Swept]
SWEEPS: Final[dict[str, Sweep]] = {
    sweep.__name__: sweep
    for sweep in (every_instant, every_name, by_chance, twice, five_files, five_files_twice)
}


def sweep(how: Sweep, scenario: str, folder: Path) -> Swept:
    """One sweep in a process of its own. Raises AssertionError with its traceback if it fails."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash.sweeps", how.__name__, scenario, str(folder)],
        capture_output=True, text=True, env=environment, cwd=REPOSITORY, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-5000:]
    return Swept(**json.loads(done.stdout))


if __name__ == "__main__":
    print(json.dumps(asdict(SWEEPS[sys.argv[1]](sys.argv[2], Path(sys.argv[3])))))
