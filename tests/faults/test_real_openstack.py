"""The simulated world checked against a real OpenStack: same plan, same outcome.

Real volumes of Cinder's over iSCSI, real ports of Neutron's, real QEMUs, and processes that really
die. A sample of what `buildflow faults run --real --os-cloud` plays whole.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from buildflow.faults.kinds import Act
from buildflow.faults.real import plans_of
from buildflow.faults.scene_names import Asked
from tests.drivers.openstack.witness import Witness
from tests.faults.openstack_sample import (
    BOOTED,
    DELETED,
    LEGACY,
    MADE,
    SAMPLE,
    SAMPLE_DELETED,
    SAMPLE_LEGACY,
    SAMPLE_MADE,
    Plan,
    compare_on,
    compare_spoilt,
)
from tests.lab.directories import REPOSITORY, open_directory
from tests.lab.openstack import NETWORK, OpenStackLab

real_services = [pytest.mark.openstack, pytest.mark.libvirt, pytest.mark.root, pytest.mark.slow]


def on_lab(test: Any) -> Any:
    """Marks a test that needs the lab, its bridge and a hypervisor."""
    for mark in real_services:
        test = mark(test)
    return test


@pytest.fixture
def bridged(openstack_lab: OpenStackLab) -> Iterator[OpenStackLab]:
    """The lab with its bridge, in which nothing is left."""
    if not openstack_lab.bridge.exists:
        openstack_lab.start_bridge()
    before = everything(openstack_lab)
    yield openstack_lab
    assert everything(openstack_lab) == before


def everything(lab: OpenStackLab) -> dict[str, list[str]]:
    """What there is, as an administrator sees it in the services, the target and the bridge."""
    witness = Witness(lab)
    volumes = sorted(witness.all_volumes())
    return {
        "volumes": [f"{each} {witness.status(each)}" for each in volumes],
        "attachments": [row["id"] for each in volumes for row in witness.attachments(each)],
        "ports": sorted(port.id for port in witness.ports()),
        "exports": sorted(target.iqn for target in lab.tgt.targets()),
        "taps": sorted(
            path.name for path in Path("/sys/class/net", lab.bridge.name, "brif").iterdir()
        ),
    }


@on_lab
@pytest.mark.parametrize(
    ("machine", "plans", "outcomes"),
    [
        (BOOTED, SAMPLE, {"complete", "rolled_back", "residue"}),
        (LEGACY, SAMPLE_LEGACY, {"complete", "residue"}),
        (MADE, SAMPLE_MADE, {"complete", "rolled_back"}),
        (DELETED, SAMPLE_DELETED, {"rolled_back"}),
    ],
    ids=["booted", "legacy", "made", "deleted"],
)
def test_same_plan_same_outcome(
    bridged: OpenStackLab, machine: Asked, plans: list[Plan], outcomes: set[str]
) -> None:
    # in a process of its own: this one may have an embedded hypervisor from another test
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        found = fresh.submit(compare_on, bridged.directory, machine, plans).result()
    unlike = [str(each) for each in found if not each.alike]
    assert unlike == []
    assert {each.real for each in found} == outcomes


@on_lab
def test_what_one_plan_leaves_is_not_in_the_way_of_the_next(bridged: OpenStackLab) -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        first, second = fresh.submit(compare_spoilt, bridged.directory).result()
    assert not first.alike
    assert "volume that is error" in str(first)
    assert second.alike, str(second)


@on_lab
def test_the_command_makes_what_it_needs_and_leaves_nothing(bridged: OpenStackLab) -> None:
    done = run(
        bridged, "--network", NETWORK, "--point", "volume_0_connect/volume.initialize*", "--json",
        "--only", "Cinder 500",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["scenarios"], document["differences"]) == (1, 0)
    (compared,) = document["compared"]
    assert compared["real"] == compared["simulated"] == "rolled_back"
    assert "The server has either erred (HTTP 500) [fault 1]" in compared["fault"]


@on_lab
def test_a_service_that_is_down_is_told_before_anything_is_made(bridged: OpenStackLab) -> None:
    bridged.stop_service("neutron")
    done = run(bridged, "--network", NETWORK, "--sample", "1")
    bridged.start_service("neutron")
    assert done.returncode == 4, done.stderr
    assert "Neutron cannot be used" in done.stderr
    assert "Traceback" not in done.stderr


def run(lab: OpenStackLab, *words: str) -> subprocess.CompletedProcess[str]:
    """`buildflow faults run --real` on the lab."""
    with open_directory() as home:
        done = subprocess.run(
            [
                sys.executable, "-W", "ignore", "-m", "buildflow", "faults", "run", "--real",
                "--home", str(home), "--os-cloud", "lab", "--os-service-cloud", "labsvc",
                "--virt-type", "qemu", *words,
            ],
            capture_output=True, text=True, check=False, timeout=180,
            env={
                **os.environ, "PYTHONPATH": str(REPOSITORY),
                "OS_CLIENT_CONFIG_FILE": str(lab.clouds_yaml),
            },
        )  # fmt: skip
        assert [path.name for path in home.iterdir()] == []
    return done


@pytest.mark.parametrize(
    ("machine", "plans"),
    [
        (BOOTED, SAMPLE),
        (LEGACY, SAMPLE_LEGACY),
        (MADE, SAMPLE_MADE),
        (DELETED, SAMPLE_DELETED),
    ],
)
def test_the_whole_has_the_sample(machine: Asked, plans: list[Plan]) -> None:
    whole = plans_of(machine.scene())
    assert len(whole) > 200
    assert {(len(plan), plan[-1].code, plan[-1].name) for plan in plans} <= {
        (len(plan), plan[-1].code, plan[-1].name) for plan in whole
    }
    assert {plan[-1].kind.act for plan in whole} == {Act.RAISE, Act.LOSE, Act.KILL, Act.STORE}
