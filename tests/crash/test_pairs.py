"""A second kill during the resume: a seeded sample of all pairs of instants of whole builds."""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path

import pytest

from tests.crash import scenarios
from tests.crash.bed import Bed, Scenario
from tests.crash.forks import spread

PAIRS = 2000
SEED = 20260101
SHARES = {
    scenarios.SUCCESS.name: (scenarios.SUCCESS, 0.25),
    scenarios.RESCHEDULED.name: (scenarios.RESCHEDULED, 0.25),
    scenarios.NO_HOST_LEFT.name: (scenarios.NO_HOST_LEFT, 0.15),
    scenarios.GUEST_STAYS.name: (scenarios.GUEST_STAYS, 0.15),
    scenarios.CANCELLED.name: (scenarios.CANCELLED, 0.1),
    scenarios.DELETE.name: (scenarios.DELETE, 0.1),
}


@pytest.mark.slow
@pytest.mark.parametrize(("scenario", "share"), SHARES.values(), ids=str)
def test_killed_twice(scenario: Scenario, share: float, memory: Path) -> None:
    bed = Bed(scenario, memory)
    rng = random.Random(f"{SEED} {scenario.name}")
    count = len(bed.instants)
    pairs: dict[int, list[int]] = defaultdict(list)
    number = int(PAIRS * share)
    for _ in range(number):
        first = rng.randint(1, count)
        # a kill in what is left to do, as far as that is known; forward and back differ in length
        pairs[first].append(rng.randint(1, max(4, count - first + 6)))

    def judge(first: int) -> str | None:
        return "; ".join(bed.judge_resumes(first, pairs[first])) or None

    complaints = spread(list(pairs), judge)
    assert not complaints, f"of {number} pairs: " + "\n".join(complaints[:5])
