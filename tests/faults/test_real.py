"""The simulated world checked against real guests: same plan, same outcome.

A sample of what `buildflow faults run --real` plays whole.
"""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from buildflow.faults.kinds import Act
from buildflow.faults.real import Comparison, RealWorld, plans_of, simulate
from buildflow.faults.scene_names import scene_called
from tests.cli.conftest import Cli, cli
from tests.faults.real_sample import SAMPLE, at, compare_all
from tests.lab.guest import GuestImages

__all__ = ["cli"]


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


def test_what_only_another_process_comes_to_is_struck_after_a_kill() -> None:
    scene = scene_called("build-1n0v")
    plans = [p for p in plans_of(scene) if p[-1].name.startswith("resume/")]
    assert plans
    for plan in plans:
        assert [fault.name for fault in plan] == ["finish:execute", plan[-1].name]
        simulate(scene, plan)
        assert [fault.name for fault in scene.injector.faults()] == [f.name for f in plan]


def test_endings_differ_in_each_part() -> None:
    scene = scene_called("build-1n1v-bfv")
    complete = simulate(scene, ())
    assert complete.unlike(complete) == []
    assert complete.things["attached"] == complete.things["export"] == 1
    failed = simulate(scene, at("v9", "volume_0_reserve/volume.reserve:before"))
    told = failed.unlike(complete)
    assert "states error, None, NOSTATE, and active, None, RUNNING in the simulated world" in told
    assert "faults Conflict, and none in the simulated world" in told
    assert "the ledger calls port:0 port undone, and done in the simulated world" in told
    assert "0 attached, and 1 in the simulated world" in told
    assert any(text.startswith("history ") for text in told)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "--image FILE"),
        (("--image", "nowhere.qcow2"), "--image FILE"),
        (("--image", "{image}", "--volumes", "1"), "--os-cloud"),
        (("--image", "{image}", "--new-volume"), "--os-cloud"),
        (("--image", "{image}", "--hosts", "2"), "--hosts"),
        (("--scene", "build-1n0v"), "--nics"),
        (("--os-cloud", "lab", "--boot", "volume", "--volumes", "1", "--image", "x"), "--image"),
    ],
)
def test_what_can_not_be_played_is_refused(
    cli: Cli, tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    image = tmp_path / "disk.raw"
    image.write_bytes(bytes(1 << 20))
    done = cli("faults", "run", "--real", *(word.format(image=image) for word in words))
    assert done.code == 2
    assert told in done.err


def test_options_of_the_real_services_go_with_them(cli: Cli) -> None:
    done = cli("faults", "run", "--network", "private")
    assert done.code == 2
    assert "--real" in done.err


def test_a_cloud_that_is_not_there_is_told(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clouds = tmp_path / "clouds.yaml"
    auth = {"auth_url": "http://127.0.0.1:9/v3", "username": "u", "password": "p"}
    auth |= {"project_name": "p", "user_domain_id": "d", "project_domain_id": "d"}
    clouds.write_text(json.dumps({"clouds": {"gone": {"auth": auth}}}))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds))
    done = cli("faults", "run", "--real", "--os-cloud", "gone")
    assert done.code == 4, done.err
    assert "Keystone" in done.err
    assert list((tmp_path / "home").iterdir()) == []


def test_a_life_does_not_outlive_its_work(tmp_path: Path) -> None:
    program = f"""
import os, time
from buildflow.faults.real import in_child
parent = os.getpid()
def work():
    os.kill(parent, 9)
    while os.getppid() == parent:
        time.sleep(0.01)
try:
    in_child(work)
finally:
    open({str(tmp_path / "went-on")!r}, "w")
"""
    ended = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)
    assert ended.returncode == -9
    assert not (tmp_path / "went-on").exists()


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
