"""`buildflow verify` and `buildflow faults`: documents, exit codes, files, and a Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import psutil
import pytest

from buildflow.engine.guard import Intention
from buildflow.faults.machines import SCENES
from buildflow.faults.scene_names import Asked, scene_called
from tests.cli.conftest import Cli, cli

pytestmark = pytest.mark.slow

__all__ = ["cli"]

REPOSITORY = Path(__file__).parents[2]
TINY = ("--nics", "0", "--volumes", "0")
FORGETFUL = ("--flow", "tests.faults.orders:forgetful_flow", "--world", "tests.faults.orders:Shop")
ORDER = ("--flow", "tests.faults.orders:order_flow", "--world", "tests.faults.orders:Shop")


# --- verify --------------------------------------------------------------------------------------


def test_verify_prints_the_size_of_the_product(cli: Cli) -> None:
    ran = cli("verify")
    assert ran.code == 0, ran.err
    found = re.search(r"product: ([\d,]+) places .*, 0 flaws", ran.out)
    assert found is not None
    document = cli("verify", "--json").document
    assert document["sound"] is True
    assert document["flaws"] == []
    assert f"{document['product']:,}" == found.group(1)
    assert document["product"] == sum(flow["places"] for flow in document["flows"].values())
    assert set(document["machines"]) == {"vm", "task", "power"}


def test_verify_ends_with_1_and_the_shortest_way_to_a_flaw(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from buildflow.states import joint, task

    spawning = next(r for r in joint.TABLE if r.task_state == task.SPAWNING)
    less = replace(spawning, power_states=frozenset({0}))
    rows = tuple(less if each is spawning else each for each in joint.TABLE)
    monkeypatch.setattr(joint, "TABLE", rows)
    ran = cli("verify")
    assert ran.code == 1
    assert "report_running is not legal" in ran.err
    assert "  1. _prebuild_instance: begun -> building/none/NOSTATE forward" in ran.err
    document = cli("verify", "--json").document
    assert document["sound"] is False
    assert document["flaws"][0]["path"]


def test_verify_a_flow_of_your_own(cli: Cli) -> None:
    document = cli("verify", "--json", "--flow", "tests.faults.orders:order_flow").document
    assert document["flows"]["tests.faults.orders:order_flow"]["steps"] == 3
    assert cli("verify", "--flow", "tests.faults.orders:nothing").code == 2
    assert cli("verify", "--flow", "nonsense").code == 2


def test_verify_looks_at_builds_in_flight(cli: Cli, tmp_path: Path) -> None:
    ran = cli("verify", "--builds", "--json")
    assert ran.code == 0
    assert ran.document["unfit"] == []
    from buildflow.engine.store import Store

    store = Store(f"sqlite:///{tmp_path / 'home' / 'buildflow.sqlite'}")
    _queued_by_another_version(store)
    store.close()
    ran = cli("verify", "--builds")
    assert ran.code == 1
    assert "build old" in ran.err
    assert "buildflow resume --revert old" in ran.err
    (unfit,) = cli("verify", "--builds", "--json").document["unfit"]
    assert (unfit["name"], unfit["step"]) == ("old", "a step of before")


def _queued_by_another_version(store: Any) -> None:
    from buildflow.config import Settings
    from buildflow.engine.core import Engine
    from tests.faults.orders import Shop, order_flow

    engine = Engine(Settings(home=Path("/nonexistent")), Shop(), store=store)
    row = engine.accept(order_flow, {}, name="old")
    fingerprint = json.dumps([{"name": "a step of before"}])
    with store.engine.begin() as connection:
        connection.exec_driver_sql(
            "update builds set fingerprint = ? where id = ?", (fingerprint, row["id"])
        )


# --- list ----------------------------------------------------------------------------------------


def test_list_names_points_on_both_ways_and_what_can_strike(cli: Cli) -> None:
    document = cli("faults", "list", *TINY, "--json").document
    assert document["scene"] == "build-0n0v"
    ways = {point["way"] for point in document["points"]}
    assert ways == {"forward", "back"}
    places = {point["at"] for point in document["points"]}
    assert places == {
        "execute", "made", "recorded", "revert", "undo", "undone", "reverted", "wait",
        "call before", "call after", "commit before", "commit after",
    }  # fmt: skip
    assert all(point["kinds"] for point in document["points"])
    lines = cli("faults", "list", *TINY).out.splitlines()
    assert len(lines) == len(document["points"]) + 1
    assert any(line.startswith("start/compute.start_domain:before ") for line in lines)


def test_list_kinds_and_scenes(cli: Cli) -> None:
    kinds = cli("faults", "list", "--kinds", "--json").document
    assert {"kill", "lost answer", "guest crashes"} <= {row["kind"] for row in kinds}
    assert cli("faults", "list", "--kinds").out.count("\n") > len(kinds)
    assert cli("faults", "list", "--scenes", "--json").document == list(SCENES)


def test_names_of_scenes_are_read_back() -> None:
    for asked in (
        Asked(), Asked(nics=0, volumes=0), Asked(boot="volume", hosts=2), Asked(made=True),
        Asked(delete=True, attach="host", api="legacy", hosts=3),
    ):  # fmt: skip
        scene = scene_called(asked.name)
        assert scene.name == asked.name
        assert vars(scene)["inputs"] == vars(asked.scene())["inputs"]
        assert (scene.attach, scene.api) == (asked.attach, asked.api)
        assert (scene.intention is Intention.DELETE) is asked.delete


# --- run -----------------------------------------------------------------------------------------


def test_run_says_what_became_of_each_fault(cli: Cli, tmp_path: Path) -> None:
    html, junit = tmp_path / "faults.html", tmp_path / "faults.xml"
    words = ("faults", "run", *TINY, "--random", "5", "--html", str(html), "--junit", str(junit))
    ran = cli(*words, "--json")
    assert ran.code == 0, ran.err
    document = ran.document
    assert document["violations"] == []
    assert document["scenarios"] == 1 + document["singles"] + 5
    assert document["pruned"] == document["scenarios"] - document["executed"] > 0
    assert document["outcomes"].get("unfinished", 0) == 0
    assert document["untaken_transitions"]
    suite = ET.parse(junit).getroot()
    assert suite.tag == "testsuite"
    assert int(suite.get("tests", "0")) == len(suite.findall("testcase")) > 50
    assert suite.get("failures") == "0"
    page = html.read_text()
    assert page.count("<svg") == 2
    assert "never taken" in page


SMALL = ("--scene", "delete-queued", "--scene", "delete-failed")


def test_several_scenes_in_one_go(cli: Cli, tmp_path: Path) -> None:
    html, junit = tmp_path / "faults.html", tmp_path / "faults.xml"
    words = ("faults", "run", *SMALL, "--random", "3", "--html", str(html), "--junit", str(junit))
    document = cli(*words, "--json").document
    assert document["scene"] == "delete-queued,delete-failed"
    parts = document["scenes"]
    assert [part["scene"] for part in parts] == ["delete-queued", "delete-failed"]
    for figure in ("scenarios", "singles", "random", "executed", "pruned", "positions", "points"):
        assert document[figure] == sum(part[figure] for part in parts), figure
    assert document["random"] == 6
    assert document["outcomes"] == {"rolled_back": sum(p["singles"] + 3 for p in parts)}
    assert document["violations"] == []
    untaken = [set(part["untaken_transitions"]) for part in parts]
    assert set(document["untaken_transitions"]) == untaken[0] & untaken[1]
    assert "vm: error -> deleted (delete_error)" in untaken[0] - untaken[1]
    suites = ET.parse(junit).getroot()
    assert suites.tag == "testsuites"
    names = [suite.get("name") for suite in suites]
    assert names == ["faults.delete-queued", "faults.delete-failed"]
    assert int(suites.get("tests", "0")) == len(suites.findall("testsuite/testcase")) > 2
    page = html.read_text()
    assert page.count("<svg") == 2
    for name in ("delete-queued", "delete-failed"):
        assert f'<a href="#{name}">' in page
        assert f'<h2 id="{name}">' in page


def test_a_scene_is_explored_once_however_often_it_is_named(cli: Cli) -> None:
    words = ("--scene", "delete-queued") * 2
    document = cli("faults", "run", *words, "--json").document
    assert document["scene"] == "delete-queued"
    assert len(document["scenes"]) == 1


def test_all_is_every_scene_that_is_ready(cli: Cli) -> None:
    # a kind that strikes nowhere in machines: each scene is run once, without a fault
    document = cli("faults", "run", "--scene", "all", "--only", "cf", "--json").document
    assert document["scene"] == "all"
    assert [part["scene"] for part in document["scenes"]] == list(SCENES)
    assert document["scenarios"] == len(SCENES)
    assert document["violations"] == []


def test_several_scenes_in_a_table(cli: Cli) -> None:
    ran = cli("faults", "run", *SMALL)
    assert ran.code == 0
    assert re.search(r"(?m)^SCENE +POINTS", ran.out)
    assert re.search(r"(?m)^delete-failed +\d+ +\d+ +\d+ +\d+ +-", ran.out)
    assert re.search(r"\d+ scenarios of 2 scenes decided in", ran.out)
    assert "transitions that no scenario took" in ran.out


def test_run_in_a_table(cli: Cli) -> None:
    ran = cli("faults", "run", *TINY, "--only", "kill")
    assert ran.code == 0
    assert re.search(r"(?m)^Wait for boot +\d+ +1 +\d+ +\d+ +-", ran.out)
    assert "no rule was broken" in ran.out
    assert "transitions that no scenario took" in ran.out


def test_run_at_some_points_only(cli: Cli) -> None:
    document = cli("faults", "run", *TINY, "--point", "define:*", "--json").document
    less = document["singles"]
    assert 0 < less < 20
    document = cli(
        "faults", "run", *TINY, "--point", "define:*", "--only", "kill", "--json"
    ).document
    assert 0 < document["singles"] < less


def test_the_same_seed_plays_the_same_plans(cli: Cli) -> None:
    words = ("faults", "run", *FORGETFUL, "--depth", "0", "--random", "30", "--json", "--seed")
    one, again, other = (cli(*words, seed).document for seed in ("1", "1", "31"))
    assert one["random"] == 30
    assert one["violations"] == again["violations"]
    assert [v["token"] for v in other["violations"]] != [v["token"] for v in one["violations"]]


def test_a_broken_flow_ends_with_1_a_story_and_tokens_that_replay(cli: Cli, tmp_path: Path) -> None:
    junit = tmp_path / "j.xml"
    ran = cli("faults", "run", *FORGETFUL, "--json", "--junit", str(junit))
    assert ran.code == 1
    violations = ran.document["violations"]
    assert violations
    assert len(ET.parse(junit).getroot().findall("testcase/failure")) == len(violations)
    for each in violations:
        assert len(each["token"]) <= 80
        again = cli("faults", "replay", each["token"], *FORGETFUL, "--json")
        assert again.code == 1
        assert again.document["texts"] == each["texts"]
        mended = cli("faults", "replay", each["token"], *ORDER)
        if "complete:execute" not in str(each["faults"]):
            assert mended.code in (0, 2), mended.err
    told = cli("faults", "run", *FORGETFUL)
    (shown,) = re.findall(r"Replay: buildflow (faults replay \S+ADE\S* .*)", told.err)[:1] or [None]
    shown = shown or re.findall(r"Replay: buildflow (.*)", told.err)[0]
    assert cli(*shown.split()).code == 1
    assert "broken rule" in told.err


def test_pairs_are_shrunk(cli: Cli) -> None:
    document = cli(
        "faults", "run", *FORGETFUL, "--depth", "2", "--only", "error", "--only", "kill", "--json"
    ).document
    assert document["pairs"] > 100
    assert document["violations"]
    assert 1 in {len(each["faults"]) for each in document["violations"]}
    # one fault is enough for something to be left; only residue that is not listed takes two
    for each in document["violations"]:
        if len(each["faults"]) == 2:
            assert set(each["rules"]) <= {"residue", "cleanup"}


def test_a_token_of_a_machine_replays_without_a_word_more(cli: Cli) -> None:
    from buildflow.faults.plan import Fault, make_token
    from buildflow.faults.play import play, reference_of

    scene = scene_called("build-1n0v")
    scenario = play(scene, reference_of(scene), (Fault("ki", None, "port_0:made"),))
    token = make_token(scene.name, scenario.faults)
    ran = cli("faults", "replay", token)
    assert ran.code == 0, ran.err
    assert ran.out.splitlines() == [
        "1. kill at port_0:made, in port:0: kill -9, a power cut, the OOM killer",
        "The run ends complete.",
        "No rule is broken.",
    ]


BAD = {
    ("--nics", "9"): "9 NICs are not explored; 0 to 4 can be",
    ("--hosts", "0"): "a build needs a host",
    ("--boot", "floppy"): "not from 'floppy'",
    ("--boot", "volume", "--volumes", "0"): "a boot from a volume needs one",
    ("--cinder", "v2"): "not by 'v2'",
    ("--attach", "glue"): "not by 'glue'",
    ("--scene", "castle"): "no scene is called 'castle'; there are build-1n2v",
    ("--scene", "build-tiny", "--nics", "2"): "leave nics out",
    ("--scene", "all", "--nics", "2"): "leave nics out",
    ("--scene", "build-tiny", "--scene", "castle"): "no scene is called 'castle'",
    ("--scene", "build-tiny", "--flow", "x:y"): "leave it out, or --flow",
    ("--only", "earthquake"): "no kind of fault is called 'earthquake'",
    ("--world", "x:Y"): "--world and --input go with --flow",
    ("--flow", "tests.faults.orders:none"): "can't be imported",
    ("--flow", "orders"): "'orders' is not MODULE:NAME",
    ("--flow", "tests.faults.orders:order_flow", "--input", "a=1"): "takes no 'a'",
    ("--flow", "tests.faults.orders:order_flow", "--input", "a"): "is not NAME=JSON",
    ("--html", "/nonexistent/a.html"): "/nonexistent/a.html can't be written",
    ("--depth", "3"): "--depth",
    ("--workers", "0"): "--workers",
}


@pytest.mark.parametrize(("words", "text"), BAD.items(), ids=[" ".join(words) for words in BAD])
def test_bad_input_gets_one_line(cli: Cli, words: tuple[str, ...], text: str) -> None:
    ran = cli("faults", "run", *words)
    assert ran.code == 2, ran.err
    assert ran.out == ""
    assert text in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("token", "text"),
    [
        ("rubbish", "is not a token of this version"),
        ("b1.castle.AAAA.0000", "no scene is called 'castle'"),
        ("b1.own.AAAA.0000", "say which with --flow and --world"),
        ("b1.build-tiny.AAAA.0000", "made by another version"),
        ("b1.build-tiny.AAA.0000", "is damaged"),
    ],
)
def test_a_bad_token_gets_one_line(cli: Cli, token: str, text: str) -> None:
    ran = cli("faults", "replay", token)
    assert ran.code == 2, ran.err
    assert text in ran.err
    assert ran.err.count("\n") == 1


def test_a_token_of_another_flow_is_refused(cli: Cli) -> None:
    ran = cli("faults", "replay", "b1.build-tiny.AAAA.0000", *ORDER)
    assert ran.code == 2
    assert "this token is of the scene 'build-tiny', not of 'own'" in ran.err


def both_workers(pid: int) -> list[psutil.Process]:
    """The two workers of an exploration, once they are there."""
    process = psutil.Process(pid)
    deadline = time.monotonic() + 60
    workers: list[psutil.Process] = []
    while len(workers) < 2:
        workers = process.children()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return workers


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_its_workers(tmp_path: Path, number: signal.Signals) -> None:
    running = subprocess.Popen(
        [sys.executable, "-m", "buildflow", "--home", str(tmp_path), "faults", "run",
         "--depth", "2", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    workers = both_workers(running.pid)
    os.killpg(running.pid, number)  # as a terminal does: to all of them
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert json.loads(out)["error"]["exit_code"] == 130
    assert "Traceback" not in err
    assert not any(worker.is_running() for worker in workers)


def test_workers_end_when_nobody_reads_them_any_more(tmp_path: Path) -> None:
    running = subprocess.Popen(
        [sys.executable, "-m", "buildflow", "--home", str(tmp_path), "faults", "run",
         "--depth", "2", "--quiet"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    workers = both_workers(running.pid)
    running.kill()
    running.wait()
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert alive == []


def test_progress_of_several_scenes_is_that_of_the_whole() -> None:
    from buildflow.faults.explore import Progress
    from buildflow.faults.several import Share

    told: list[Progress] = []
    share = Share(told.append, scenes=3)
    share(Progress(tried=10, left=30, runs=5, violations=1, seconds=2.0))
    assert told[-1].left_s == 6.0 + 2 * 8.0  # what is left of this one, and two as long as it
    share.done, share.tried, share.seconds = 1, 40, 4.0
    share(Progress(tried=10, left=30, runs=5, violations=1, seconds=2.0))
    assert (told[-1].tried, told[-1].left_s) == (50, 6.0 + (4.0 + 8.0) / 2)


def test_progress_is_told_with_an_estimate() -> None:
    from buildflow.faults.explore import Progress
    from buildflow.faults.watch import progress_words

    words = progress_words(Progress(tried=3120, left=1200, runs=900, violations=0, seconds=26.0))
    assert words == "3,120 tried, 1,200 known to be left, about 10.0 s, 0 broken rules"
