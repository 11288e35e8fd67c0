"""Every single fault in every scene that is ready: no rule broken, nothing left out."""

from __future__ import annotations

import os

import pytest

from buildflow.faults.kinds import ANY_WORLD, KINDS
from buildflow.faults.machines import SCENES, make_scene
from buildflow.faults.power_scene import every_change
from buildflow.faults.report import violations
from buildflow.faults.several import Several
from buildflow.faults.testing import explore
from buildflow.states import power

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("every_scene")]


@pytest.fixture(scope="module")
def everything() -> Several:
    """`buildflow faults run --scene all`."""
    workers = len(os.sched_getaffinity(0))
    return Several("all", [explore(make_scene(name), workers=workers) for name in SCENES])


@pytest.mark.timeout(1800)
def test_no_scenario_breaks_a_rule(everything: Several) -> None:
    assert violations(everything) == []
    assert everything.outcomes["unfinished"] == 0
    assert everything.scenarios > 8000


def test_nothing_is_left_undecided(everything: Several) -> None:
    assert {part.scene: part.lost for part in everything.parts if part.lost} == {}


def test_every_declared_transition_is_taken(everything: Several) -> None:
    assert everything.untaken == []
    assert any(part.untaken for part in everything.parts), "no scene takes them all by itself"


def test_every_kind_strikes(everything: Several) -> None:
    struck = {cell.code for part in everything.parts for cell in part.cells}
    of_machines = {kind.code for kind in KINDS if kind.drivers != {ANY_WORLD}}
    assert of_machines - struck == set()


def test_every_outcome_is_come_to(everything: Several) -> None:
    assert {word for word, count in everything.outcomes.items() if count} == {
        "complete", "rolled_back", "residue",
    }  # fmt: skip


def test_the_power_goes_from_each_state_to_each_other() -> None:
    changes = every_change()
    pairs = list(zip((power.RUNNING, *changes), changes, strict=False))
    assert len(pairs) == len(set(pairs)) == len(power.NAMES) * (len(power.NAMES) - 1)
    assert all(before != after for before, after in pairs)
    assert changes[-1] == power.RUNNING
