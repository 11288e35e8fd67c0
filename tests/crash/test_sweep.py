"""A process that is killed at every instant of a build, and the resume that follows.

The oracle is the build that nobody killed: the same states, the same residue, the same world.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash import scenarios
from tests.crash.sweeps import by_chance, every_instant, every_name, sweep

pytestmark = pytest.mark.slow

ENDS = {
    scenarios.SUCCESS.name: ("complete", "active"),
    scenarios.FROM_VOLUME.name: ("complete", "active"),
    scenarios.RESCHEDULED.name: ("complete", "active"),
    scenarios.NO_HOST_LEFT.name: ("rolled_back", "error"),
    scenarios.RESIDUE.name: ("residue", "error"),
    scenarios.GUEST_STAYS.name: ("residue", "error"),
    scenarios.RESIDUE_BETWEEN_HOSTS.name: ("residue", "error"),
    scenarios.CANCELLED.name: ("rolled_back", "error"),
    scenarios.CANCELLED_BETWEEN_HOSTS.name: ("rolled_back", "error"),
    scenarios.DELETED_MEANWHILE.name: ("rolled_back", "deleted"),
    scenarios.DELETED_AT_THE_END.name: ("rolled_back", "deleted"),
    scenarios.DELETED_WHILE_ROLLED_BACK.name: ("rolled_back", "deleted"),
    scenarios.DELETE.name: ("rolled_back", "deleted"),
}
OVERLAPPING = {
    scenarios.OVERLAPPING.name: ("complete", "active"),
    scenarios.OVERLAPPING_FAILS.name: ("rolled_back", "error"),
}


@pytest.mark.parametrize("scenario", ENDS)
def test_killed_at_every_instant(scenario: str, memory: Path) -> None:
    swept = sweep(every_instant, scenario, memory)
    assert (swept.end["status"], swept.end["vm_state"]) == ENDS[scenario]
    assert swept.deaths > 20
    assert not swept.complaints, swept


@pytest.mark.parametrize("scenario", [each.name for each in scenarios.failing_in_each_step()])
def test_killed_with_a_failure_in_each_step(scenario: str, memory: Path) -> None:
    swept = sweep(every_instant, scenario, memory)
    assert swept.deaths > 5
    assert not swept.complaints, swept


@pytest.mark.parametrize("scenario", OVERLAPPING)
def test_killed_while_steps_overlap(scenario: str, memory: Path) -> None:
    swept = sweep(every_name, scenario, memory)
    assert (swept.end["status"], swept.end["vm_state"]) == OVERLAPPING[scenario]
    assert swept.deaths > 20
    assert not swept.complaints, swept


def test_killed_while_one_fails_and_others_go_on(memory: Path) -> None:
    """How far the others come is chance, and so is where the n-th instant lies."""
    swept = sweep(by_chance, scenarios.OVERLAPPING_FAILS_EARLY.name, memory)
    assert (swept.end["status"], swept.end["vm_state"]) == ("rolled_back", "error")
    assert swept.deaths > 20
    assert not swept.complaints, swept
