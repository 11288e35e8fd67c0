"""Five files: killed at every instant, and at every ordered pair of instants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.crash.five import FiveBed
from tests.crash.forks import numbered, spread

pytestmark = pytest.mark.slow

FLOWS: dict[str, tuple[dict[str, Any], str]] = {
    "complete": ({}, "complete"),
    "fails": ({"fail": True}, "rolled_back"),
    "stuck": ({"fail": True, "stuck": "file 2"}, "residue"),
}


@pytest.mark.parametrize("name", FLOWS)
def test_killed_once(name: str, memory: Path) -> None:
    inputs, end = FLOWS[name]
    bed = FiveBed(memory, **inputs)
    assert bed.expected["status"] == end
    assert len(bed.expected["residue"]) == (1 if name == "stuck" else 0)
    assert not spread(numbered(len(bed.instants)), bed.judge)


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOWS)
def test_killed_at_every_ordered_pair_of_instants(name: str, memory: Path) -> None:
    bed = FiveBed(memory, **FLOWS[name][0])
    # a resume passes two instants more than a build: it claims
    count = len(bed.instants)
    second = numbered(count + 2)

    def judge(first: int) -> str | None:
        return "; ".join(bed.judge_resumes(first, second)) or None

    complaints = spread(numbered(count), judge)
    assert not complaints, "\n".join(complaints[:5])
