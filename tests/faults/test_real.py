"""The simulated world checked against real guests: same plan, same outcome.

A sample of what `buildflow faults run --real` plays whole.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from buildflow.faults.kinds import Act
from buildflow.faults.real import Comparison, RealWorld, plans_of
from buildflow.faults.scene_names import scene_called
from tests.faults.real_sample import SAMPLE, at, compare_all
from tests.lab.guest import GuestImages


@pytest.mark.libvirt
@pytest.mark.slow
def test_same_plan_same_outcome(guest_images: GuestImages) -> None:
    image = Path(guest_images.directory) / "guest.qcow2"
    # in a process of its own: this one may have an embedded hypervisor from another test
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        found = fresh.submit(compare_all, image).result()
    unlike = [str(each) for each in found if not each.alike]
    assert unlike == []
    assert {each.real for each in found} == {"complete", "rolled_back", "residue"}


def test_the_whole_has_each_kind_that_real_services_can_be_given() -> None:
    plans = plans_of(scene_called("build-1n0v"))
    assert len(plans) > 300
    assert {plan[-1].kind.act for plan in plans} == {Act.RAISE, Act.LOSE, Act.KILL, Act.STORE}
    assert sum(len(plan) == 2 for plan in plans) > 100
    assert all(plan in plans for plan in SAMPLE)


def test_a_difference_is_told() -> None:
    plan = at("ki", "define:made")
    assert Comparison(plan, "complete", "complete", struck=True).alike
    unlike = Comparison(plan, "complete", "rolled_back", struck=True, wrong=("disk x is left",))
    assert not unlike.alike
    assert str(unlike) == (
        "kill at define:made: rolled_back, but complete in the simulated world; disk x is left"
    )
    assert not Comparison(plan, "complete", "complete", struck=False).alike
    assert RealWorld.__doc__
