"""A second kill during the resume: a seeded sample of all pairs of instants of whole builds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.sweeps import PAIRS, SHARES, sweep, twice


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SHARES)
def test_killed_twice(scenario: str, memory: Path) -> None:
    swept = sweep(twice, scenario, memory)
    assert swept.deaths == PAIRS * SHARES[scenario]
    assert not swept.complaints, swept
