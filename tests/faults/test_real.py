"""The simulated world checked against real guests: same plan, same outcome.

A sample of what `buildflow faults run --real` plays whole.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from buildflow.config import Settings
from buildflow.faults.kinds import Act
from buildflow.faults.plan import Fault
from buildflow.faults.real import Comparison, RealWorld, embedded, plans_of
from buildflow.faults.scene_names import scene_called
from tests.lab.directories import open_directory
from tests.lab.guest import GuestImages

LAST = Fault("er", None, "finish:execute")


def at(code: str, name: str, *, back: bool = False, turn: int = 1) -> tuple[Fault, ...]:
    fault = Fault(code, None, name, turn)
    return (LAST, fault) if back else (fault,)


# around the effects that matter: the kill before, between and after; the error that the driver
# raises; the answer that is lost
SAMPLE = [
    at("ki", "port_0:made"),
    at("lo", "root_disk/compute.create_disk:after"),
    at("c1", "define/compute.define_domain:before"),
    at("ki", "start/compute.start_domain:before"),
    at("ki", "start/compute.start_domain:after"),
    at("lo", "start/compute.start_domain:after"),
    at("cm", "start/compute.start_domain:before"),
    at("ki", "finish/commit:after"),
    at("sf", "finish/commit:before"),
    at("ki", "start:undone", back=True),
    at("c1", "define/compute.undefine_domain:before", back=True),
    at("er", "root_disk:undo", back=True),
]


def compare_all(image: Path) -> list[Comparison]:
    scene = scene_called("build-1n0v")
    with open_directory() as home:
        world = embedded(Settings(virt_type="qemu"), home, image)
        return [world.compare(scene, plan) for plan in SAMPLE]


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
    from buildflow.faults.real import Comparison

    plan = at("ki", "define:made")
    assert Comparison(plan, "complete", "complete", struck=True).alike
    unlike = Comparison(plan, "complete", "rolled_back", struck=True, wrong=("disk x is left",))
    assert not unlike.alike
    assert str(unlike) == (
        "kill at define:made: rolled_back, but complete in the simulated world; disk x is left"
    )
    assert not Comparison(plan, "complete", "complete", struck=False).alike
    assert RealWorld.__doc__
