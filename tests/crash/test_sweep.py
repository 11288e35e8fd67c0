"""A process that is killed at every instant of a build, and the resume that follows.

The oracle is the build that nobody killed: the same states, the same residue, the same world.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash import scenarios
from tests.crash.bed import Bed, Scenario
from tests.crash.forks import numbered, spread

SWEPT = (
    scenarios.SUCCESS,
    scenarios.RESCHEDULED,
    scenarios.NO_HOST_LEFT,
    scenarios.RESIDUE,
    scenarios.DELETE,
    scenarios.FROM_VOLUME,
    scenarios.GUEST_STAYS,
    scenarios.RESIDUE_BETWEEN_HOSTS,
    scenarios.CANCELLED,
    scenarios.CANCELLED_BETWEEN_HOSTS,
    scenarios.DELETED_MEANWHILE,
    scenarios.DELETED_AT_THE_END,
    scenarios.DELETED_WHILE_ROLLED_BACK,
)
ENDS = {
    "success": ("complete", "active"),
    "from volume": ("complete", "active"),
    "rescheduled": ("complete", "active"),
    "no host left": ("rolled_back", "error"),
    "residue": ("residue", "error"),
    "guest stays": ("residue", "error"),
    "residue between hosts": ("residue", "error"),
    "cancelled": ("rolled_back", "error"),
    "cancelled between hosts": ("rolled_back", "error"),
    "deleted meanwhile": ("rolled_back", "deleted"),
    "deleted at the end": ("rolled_back", "deleted"),
    "deleted while rolled back": ("rolled_back", "deleted"),
    "delete": ("rolled_back", "deleted"),
    "overlapping": ("complete", "active"),
    "overlapping fails": ("rolled_back", "error"),
    "overlapping fails early": ("rolled_back", "error"),
}


def sweep(scenario: Scenario, folder: Path) -> None:
    """Every instant of one scenario, once."""
    bed = Bed(scenario, folder)
    if scenario.name in ENDS:
        row = bed.expected["row"]
        assert (row["status"], row["vm_state"]) == ENDS[scenario.name]
    assert bed.complaint(bed.expected) is None
    kills = list(numbered(len(bed.instants)))
    complaints = spread(kills, bed.judge)
    assert not complaints, f"{len(complaints)} of {len(bed.instants)}: " + "\n".join(complaints[:5])


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SWEPT, ids=str)
def test_killed_at_every_instant(scenario: Scenario, memory: Path) -> None:
    sweep(scenario, memory)


@pytest.mark.slow
@pytest.mark.parametrize("scenario", list(scenarios.failing_in_each_step()), ids=str)
def test_killed_with_a_failure_in_each_step(scenario: Scenario, memory: Path) -> None:
    sweep(scenario, memory)


@pytest.mark.slow
@pytest.mark.parametrize("scenario", [scenarios.OVERLAPPING, scenarios.OVERLAPPING_FAILS], ids=str)
def test_killed_while_steps_overlap(scenario: Scenario, memory: Path) -> None:
    """Whatever is committed, made or undone: killed right before and right after it."""
    bed = Bed(scenario, memory)
    complaints = spread(bed.names, bed.judge)
    assert not complaints, f"{len(complaints)} of {len(bed.names)}: " + "\n".join(complaints[:5])


@pytest.mark.slow
def test_killed_while_one_fails_and_others_go_on(memory: Path) -> None:
    """How far the others come is chance, and so is where the n-th instant lies."""
    bed = Bed(scenarios.OVERLAPPING_FAILS_EARLY, memory)
    complaints = spread(numbered(len(bed.instants)), bed.judge_by_chance)
    assert not complaints, f"{len(complaints)} of {len(bed.instants)}: " + "\n".join(complaints[:5])
