"""Two versions compared: what differs, and what builds in flight make of it."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from buildflow.diagrams import diff, draw
from buildflow.diagrams.diff import Change, Verdict, compare
from buildflow.diagrams.diff.comparison import worst
from buildflow.diagrams.diff.sources import Snapshot, current, dump
from buildflow.diagrams.example import example_build
from buildflow.diagrams.extract import extract_flow
from buildflow.diagrams.model import FlowModel, MachineModel
from buildflow.engine.fingerprint import fingerprint, first_difference
from buildflow.errors import BadInput
from buildflow.flows.build import build_flow
from buildflow.states import Kind

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def now() -> Snapshot:
    return current()


def flow_with(flow: FlowModel, name: str, **fields: Any) -> Snapshot:
    nodes = tuple(dataclasses.replace(n, **fields) if n.name == name else n for n in flow.nodes)
    return {"flow": FlowModel(nodes, flow.links)}


def machine_with(machine: MachineModel, keep: Callable[[Any], bool], **fields: Any) -> Snapshot:
    edges = tuple(e for e in machine.edges if keep(e))
    return {machine.name: dataclasses.replace(machine, edges=edges, **fields)}


def only(changes: tuple[Change, ...]) -> Change:
    assert len(changes) == 1, changes
    return changes[0]


def test_nothing_differs(now: Snapshot) -> None:
    assert compare(now, now) == ()


@pytest.mark.parametrize(
    ("fields", "verdict", "detail"),
    [
        ({"label": "new words"}, Verdict.SURVIVES, "label: start -> new words"),
        ({"undo": "destroy it twice"}, Verdict.SURVIVES, "undo: destroy the domain -> destroy it"),
        ({"undo": "", "no_undo": "why not"}, Verdict.BREAKS, "undo: destroy the domain -> none"),
        ({"undo_after": ("port",)}, Verdict.SURVIVES, "undo waits for: nothing -> port"),
        ({"requires": ("host",)}, Verdict.ROLLS_BACK, "needs: -domain"),
        ({"provides": ()}, Verdict.ROLLS_BACK, "gives: -guest"),
        ({"effect": "ghost"}, Verdict.BREAKS, "makes: guest -> ghost"),
        ({"definition": "other:Start"}, Verdict.ROLLS_BACK, "class: "),
        ({"on_start": ("fail",)}, Verdict.ROLLS_BACK, "at its start: nothing -> fail"),
    ],
)
def test_a_changed_step(
    now: Snapshot, fields: dict[str, Any], verdict: Verdict, detail: str
) -> None:
    flow = now["flow"]
    assert isinstance(flow, FlowModel)
    change = only(compare({"flow": flow}, flow_with(flow, "start", **fields)))

    assert (change.how, change.verdict) == ("changed", verdict)
    assert change.detail.startswith(detail)


def test_added_removed_and_moved_steps() -> None:
    old: Snapshot = {"flow": extract_flow(build_flow())}
    new: Snapshot = {"flow": extract_flow(build_flow(volumes=[{}]))}
    there = {(c.how, c.item): c.verdict for c in compare(old, new)}
    back = {(c.how, c.item): c.verdict for c in compare(new, old)}

    assert there["added", "volume:0:create"] is Verdict.ROLLS_BACK
    assert there["added", "volume 0"] is Verdict.SURVIVES
    assert back["removed", "volume:0:create"] is Verdict.BREAKS
    assert back["removed", "release secrets"] is Verdict.ROLLS_BACK


@pytest.mark.parametrize(
    ("then", "now_"),
    [
        ({}, {}),
        ({}, {"volumes": [{}]}),
        ({"networks": [{}, {}]}, {}),
        ({"boot_volume": {"id": "v"}}, {"image": "cirros"}),
        ({"memory_mib": 64}, {"memory_mib": 128}),
        ({"hosts": ["a"]}, {"hosts": ["a", "b"]}),
    ],
)
def test_the_verdict_is_the_engines(then: dict[str, Any], now_: dict[str, Any]) -> None:
    """`survives` exactly where the engine would go on with a build of the old flow."""
    goes_on = (
        first_difference(fingerprint(build_flow(**then)), fingerprint(build_flow(**now_))) is None
    )
    changes = compare(
        {"flow": extract_flow(build_flow(**then))}, {"flow": extract_flow(build_flow(**now_))}
    )

    assert (worst(changes) is Verdict.SURVIVES) == goes_on


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [
        (Kind.FORWARD, Verdict.ROLLS_BACK),
        (Kind.COMPENSATING, Verdict.BREAKS),
        (Kind.FAILING, Verdict.BREAKS),
        (Kind.DELETING, Verdict.BREAKS),
    ],
)
def test_a_lost_edge(now: Snapshot, kind: Kind, verdict: Verdict) -> None:
    vm = now["vm"]
    assert isinstance(vm, MachineModel)
    lost = next(e for e in vm.edges if e.kind is kind)
    change = only(compare({"vm": vm}, machine_with(vm, lambda e: e is not lost)))

    assert (change.how, change.verdict) == ("removed", verdict)
    assert change.item == f"{lost.trigger}: {lost.source} -> {lost.dest}"


def test_states_that_go_strand_builds_and_new_ones_do_not(now: Snapshot) -> None:
    task = now["task"]
    assert isinstance(task, MachineModel)
    fewer = machine_with(
        task,
        lambda e: "networking" not in (e.source, e.dest),
        states=tuple(s for s in task.states if s.key != "networking"),
        path=(),
    )

    gone = [c for c in compare({"task": task}, fewer) if c.item == "networking"]
    assert only(tuple(gone)).verdict is Verdict.BREAKS
    new = [c for c in compare(fewer, {"task": task}) if c.item == "networking"]
    assert only(tuple(new)).verdict is Verdict.SURVIVES


def test_a_triple_that_is_illegal_now(now: Snapshot) -> None:
    joint = now["joint"]
    assert isinstance(joint, MachineModel)
    states = tuple(
        dataclasses.replace(s, values=tuple(v for v in s.values if v != "CRASHED"))
        if s.key == "building / spawning"
        else s
        for s in joint.states
    )
    change = only(compare({"joint": joint}, {"joint": dataclasses.replace(joint, states=states)}))

    assert (change.verdict, change.detail) == (Verdict.BREAKS, "power: -CRASHED")


# --- from files ----------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path, now: Snapshot) -> tuple[str, str]:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    data = dump(now)
    old.write_text(json.dumps(data), encoding="utf-8")
    text = json.dumps(data).replace("start_spawning", "begin_spawning")
    new.write_text(text, encoding="utf-8")
    return str(old), str(new)


def test_text(files: tuple[str, str]) -> None:
    text = diff(*files).decode()

    assert text.splitlines()[0].endswith(
        "rolls back: builds in flight can't go on, but roll back and leave nothing"
    )
    assert "- start_spawning: block_device_mapping -> spawning" in text
    assert "+ begin_spawning: block_device_mapping -> spawning" in text
    assert diff(files[0], files[0]).decode().endswith("nothing differs; builds in flight go on\n")


def test_one_part(files: tuple[str, str]) -> None:
    assert "nothing differs" in diff(*files, what="vm").decode()
    data = json.loads(diff(*files, what="task", format="json"))
    assert data["verdict"] == "rolls back"
    assert {change["part"] for change in data["changes"]} == {"task"}


def test_a_saved_drawing_is_compared_with_a_snapshot(
    files: tuple[str, str], tmp_path: Path
) -> None:
    saved = tmp_path / "task.json"
    saved.write_bytes(draw("states", machine="task", format="json"))

    assert "begin_spawning" in diff(str(saved), files[1]).decode()


def test_builds_in_flight_have_a_verdict_each(files: tuple[str, str]) -> None:
    going = {
        **example_build(),
        "status": "running",
        "vm_state": "building",
        "task_state": "spawning",
    }
    for effect in going["effects"]:
        effect["state"] = "undone"
    over = {**going, "status": "complete"}
    stranded = {**going, "name": "web-2", "task_state": "dreaming"}
    text = diff(*files, builds=[going, over, stranded]).decode()

    assert "builds in flight: 2, of which " in text
    assert "web-1 (running)" in text
    assert "web-2 (running) breaks: its task state 'dreaming' is not known" in text


def test_a_build_whose_step_is_gone_is_told_the_first_that_differs() -> None:
    from buildflow.diagrams.diff.flight import flights

    going = {
        **example_build(),
        "status": "running",
        "vm_state": "building",
        "task_state": "spawning",
    }
    for effect in going["effects"]:
        effect["state"] = "undone"
    old, new = current(), {**current(), "flow": extract_flow(build_flow(volumes=[{}]))}
    (flight,) = flights([going], old, new)

    assert flight.verdict is Verdict.ROLLS_BACK
    assert flight.why == "the first step that differs is 'block_device_info'"


@pytest.mark.parametrize(
    ("text", "why"),
    [("{", "not JSON"), ("[]", "`kind` is none of"), ('{"kind": "snapshot"}', "'models'")],
)
def test_a_file_that_is_no_diagram(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "odd.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=r"odd\.json") as caught:
        diff(str(path), str(path))
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_timelines_and_formats_are_refused(tmp_path: Path, files: tuple[str, str]) -> None:
    path = tmp_path / "timeline.json"
    path.write_bytes(draw("timeline", format="json"))
    with pytest.raises(BadInput, match="a timeline can't be compared"):
        diff(str(path), files[0])
    with pytest.raises(BadInput, match="written as text or json, not svg"):
        diff(*files, format="svg")
    with pytest.raises(BadInput, match="has no door: it holds flow, vm, task, power, joint"):
        diff(*files, what="door")


# --- from git ------------------------------------------------------------------------------------


def _git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=Nobody", "-c", "user.email=nobody@example.org"]
    subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with two commits: today's definitions, and a task table without a way back."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("buildflow", "flows", "diagrams"):
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=skip)
    _git(folder, "init", "-q", "-b", "main")
    _git(folder, "add", "-A")
    _git(folder, "commit", "-q", "-m", "one")
    table = folder / "buildflow" / "states" / "task.py"
    text = table.read_text(encoding="utf-8")
    changed = text.replace('undo="leave_spawning"', 'undo_why="no way back"')
    assert changed != text
    table.write_text(changed, encoding="utf-8")
    _git(folder, "commit", "-q", "-a", "-m", "two")
    return folder


@pytest.mark.slow
def test_two_revisions(repository: Path) -> None:
    text = diff("HEAD~1", "HEAD", repository=repository, what="task").decode()

    assert "HEAD~1 -> HEAD: breaks" in text
    assert "walked back by: leave_spawning -> nothing" in text
    assert "nothing differs" in diff("HEAD", "HEAD", repository=repository).decode()


@pytest.mark.slow
def test_a_revision_that_is_none(repository: Path) -> None:
    for odd in ("no-such-thing", "--help", "HEAD~99"):
        with pytest.raises(BadInput, match="is neither a file nor a git revision") as caught:
            diff(odd, "HEAD", repository=repository)
        assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_revision_that_contradicts_itself_is_told_on_one_line(repository: Path) -> None:
    table = repository / "buildflow" / "states" / "vm.py"
    table.write_text(table.read_text(encoding="utf-8") + "\nraise SystemExit('broken')\n")
    _git(repository, "commit", "-q", "-a", "-m", "three")
    with pytest.raises(BadInput, match="revision 'HEAD' can't draw itself: broken"):
        diff("HEAD~1", "HEAD", repository=repository)
