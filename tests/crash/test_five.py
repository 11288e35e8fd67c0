"""Five files: killed at every instant, and at every ordered pair of instants."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.five import FLOWS
from tests.crash.sweeps import five_files, five_files_twice, sweep

pytestmark = pytest.mark.slow

ENDS = {"complete": "complete", "fails": "rolled_back", "stuck": "residue"}


@pytest.mark.parametrize("name", FLOWS)
def test_killed_once(name: str, memory: Path) -> None:
    swept = sweep(five_files, name, memory)
    assert swept.end["status"] == ENDS[name]
    assert len(swept.end["residue"]) == (1 if name == "stuck" else 0)
    assert swept.deaths > 20
    assert not swept.complaints, swept


@pytest.mark.parametrize("name", FLOWS)
def test_killed_at_every_ordered_pair_of_instants(name: str, memory: Path) -> None:
    swept = sweep(five_files_twice, name, memory)
    assert swept.end["status"] == ENDS[name]
    assert swept.deaths > 400
    assert not swept.complaints, swept
