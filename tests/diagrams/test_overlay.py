"""Builds of the real engine, in a simulated world, laid over the pictures."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from buildflow.diagrams import KINDS, draw, report
from buildflow.diagrams.drawing import Subject, machines_of
from buildflow.diagrams.example import example_build
from buildflow.diagrams.extract import recorded
from buildflow.diagrams.extract.engine_moves import ENGINE_MOVES, REPORTS
from buildflow.diagrams.extract.moments import moments
from buildflow.diagrams.model import Outcome, Run
from buildflow.diagrams.overlay import node_runs, ordinal, seconds
from buildflow.drivers.simulated import PAUSES, POWERS_OFF, WorldOptions, export
from buildflow.drivers.simulated.names import chap_password
from buildflow.engine.points import FailAt, InjectedFault, Point
from buildflow.errors import BadInput
from buildflow.states import InstanceStates
from buildflow.states.machine import row_for

BOOTS = WorldOptions(boot_seconds=2.0, latency_s=0.1)


@pytest.fixture(scope="module")
def failed() -> dict[str, Any]:
    return example_build()


@pytest.fixture(scope="module")
def built() -> dict[str, Any]:
    return example_build(BOOTS, wait="power")


@pytest.fixture(scope="module")
def deleted() -> dict[str, Any]:
    return example_build(BOOTS, delete=True, wait="power")


@pytest.fixture
def running(failed: dict[str, Any]) -> dict[str, Any]:
    """The failed build as it was while its root disk was being made."""
    build = copy.deepcopy(failed)
    build.update(
        status="running", fault=None, residue=[], vm_state="building", task_state="spawning"
    )
    names = [step["name"] for step in build["steps"]]
    here = names.index("root disk")
    for at, step in enumerate(build["steps"]):
        step.update(error=None, reverted_at=None, revert_seconds=None)
        step["state"] = "SUCCESS" if at < here else "RUNNING" if at == here else "PENDING"
        if at >= here:
            step.update(finished_at=None, seconds=None)
        if at > here:
            step["started_at"] = None
    build["history"] = [line for line in build["history"] if "report" not in line["trigger"]][:5]
    return build


def test_where_it_failed_and_what_was_undone_in_which_order(failed: dict[str, Any]) -> None:
    subject = Subject.of(build=failed)
    runs = subject.runs or {}

    assert failed["status"] == "rolled_back"
    assert runs["Wait for boot"].failed
    assert not runs["start"].failed
    undone = sorted((r.undo_place, key) for key, r in runs.items() if r.undo_place)
    assert undone == [(place, node.key) for place, node in subject.flow.way_back()]
    assert runs["finish"].outcome is Outcome.PENDING
    assert runs["buildinstance"].failed


def test_the_words_stand_in_the_documented_boxes(failed: dict[str, Any]) -> None:
    lines = draw("call", build=failed).decode().splitlines()
    boot = next(line for line in lines if "| Wait for boot |" in line)
    spawn = next(line for line in lines if "self.driver.spawn" in line)

    assert boot.endswith("FAILED after 4.10 s, walked back")
    assert "FAILED after" in spawn


def test_a_build_that_went_well(built: dict[str, Any]) -> None:
    subject = Subject.of(build=built)

    assert built["status"] == "complete"
    assert {run.outcome for run in (subject.runs or {}).values()} == {Outcome.DONE}
    assert "FAILED" not in draw("flow", build=built).decode()


def test_a_delete_is_drawn_as_the_undo_that_it_is(deleted: dict[str, Any]) -> None:
    runs = Subject.of(build=deleted).runs or {}

    assert deleted["vm_state"] == "deleted"
    assert runs["start"].outcome is Outcome.UNDONE
    assert runs["start"].undo_place == 1
    assert not runs["start"].failed


def test_an_undo_that_failed_at_first() -> None:
    """TaskFlow stops there, the engine goes on by its ledger: the picture tells what came of it."""
    build = example_build(points=FailAt([Point("plug:0", "revert")]))
    subject = Subject.of(build=build)
    runs = subject.runs or {}
    text = draw("timeline", build=build).decode()

    assert build["status"] == "rolled_back"
    assert next(s for s in build["steps"] if s["name"] == "root disk")["state"] == "SUCCESS"
    assert {r.outcome for r in runs.values()}.isdisjoint({Outcome.RESIDUE, Outcome.UNDOING})
    places = {key: run.undo_place for key, run in runs.items() if run.undo_place}
    assert list(places) == [e["step"] for e in build["effects"]]
    assert sorted(places.values()) == list(range(1, len(places) + 1))
    assert not runs["plug:0"].failed
    assert runs["plug:0"].words() == "done 400 ms, undo FAILED, undone 3rd"
    assert "undo FAILED: injected failure at plug_0:revert" in text


def test_an_undo_that_never_works() -> None:
    """What could not be removed is residue, and so is told of all that waits for it."""

    def stuck(where: str, subject: str, run: Any) -> None:
        if (where, subject) == ("undo", "port:0:bind"):
            raise InjectedFault("port_0_bind:undo")

    build = example_build(points=stuck)
    runs = Subject.of(build=build).runs or {}

    assert build["status"] == "residue"
    left = {effect["step"] for effect in build["residue"]}
    assert "port:0:bind" in left
    tasks = {node.key for node in Subject.of().flow.tasks()}
    assert {key for key in tasks if runs[key].outcome is Outcome.RESIDUE} == left
    assert "RESIDUE: binding" in draw("call", style="tree", build=build).decode()
    page = report(build)
    assert "RESIDUE: binding" in page
    assert "run buildflow cleanup" in page


def test_residue_is_told_wherever_it_is(failed: dict[str, Any]) -> None:
    build = copy.deepcopy(failed)
    effect = next(e for e in build["effects"] if e["kind"] == "port")
    effect.update(state="residue", reason="DriverError: Neutron did not answer")
    build["status"] = "residue"

    assert "RESIDUE: port" in draw("call", build=build, style="tree").decode()
    assert "! residue is left" in draw("timeline", build=build, format="svg").decode()
    assert "RESIDUE: port" in draw("flow", build=build, format="mermaid").decode()


def test_a_build_that_still_runs(running: dict[str, Any]) -> None:
    began = datetime.fromisoformat(
        next(s["started_at"] for s in running["steps"] if s["name"] == "root disk")
    )
    now = began + timedelta(seconds=2.5)
    tree = draw("call", build=running, style="tree", now=now).decode()
    bars = json.loads(draw("timeline", build=running, format="json", now=now))

    assert "▶ root disk" in tree
    assert "running 2.50 s" in tree
    assert "· start" in tree
    assert bars["ongoing"] is True
    assert next(b for b in bars["bars"] if b["name"] == "root disk")["end"] == bars["end"]


def test_the_state_chart_shows_the_way_it_took(failed: dict[str, Any]) -> None:
    subject = Subject.of(build=failed)
    taken = {model.name: run for model, run in machines_of(subject, None)}
    joint = machines_of(subject, "joint")[0][1]

    assert taken["vm"] is not None
    assert taken["vm"].current == "error"
    assert taken["vm"].taken == {("fail", "building"): (1,)}
    assert taken["task"] is not None
    assert taken["task"].taken[("give_up", "scheduling")] == (9,)
    assert joint is not None
    assert joint.current == "error / none"
    assert list(joint.visited)[:2] == ["building / scheduling", "building / none"]


def test_lanes_follow_the_history(failed: dict[str, Any]) -> None:
    subject = Subject.of(build=failed)
    assert subject.run is not None
    lanes = {
        lane.name: [s.value for s in lane.spans]
        for lane in recorded(subject.flow, subject.run).lanes
    }

    assert lanes["vm"] == ["building", "error"]
    assert lanes["power"] == ["NOSTATE", "RUNNING", "SHUTDOWN", "NOSTATE"]


@pytest.mark.parametrize(
    ("options", "delete"),
    [
        (WorldOptions(boot_seconds=4.0, guest=POWERS_OFF, latency_s=0.1), False),
        (WorldOptions(boot_seconds=4.0, guest=PAUSES, latency_s=0.1), False),
        (WorldOptions(boot_seconds=4.0, guest=POWERS_OFF, latency_s=0.1), True),
        (BOOTS, False),
        (BOOTS, True),
        (WorldOptions(full_disks=("sim1",), latency_s=0.1), False),
    ],
)
def test_every_move_of_a_real_build_is_one_that_the_charts_know(
    options: WorldOptions, delete: bool
) -> None:
    """The engine's own moves stand in code, so the charts list them: this holds the list to it."""
    wait = "power" if options is BOOTS else "console:x"
    build = example_build(options, delete=delete, wait=wait)
    subject = Subject.of(build=build)
    known = set(_moves_of(subject)) | {m.triggers for m in (*ENGINE_MOVES, *REPORTS)}
    fired = {tuple(line["trigger"].split("+")) for line in build["history"][1:]}

    assert build["history"][0]["trigger"] == "accept"
    assert fired <= known


def _moves_of(subject: Subject) -> Iterator[tuple[str, ...]]:
    before = InstanceStates()
    for moment in moments(subject.flow):
        yield moment.triggers
        undos = [row_for(trigger, before).undo for trigger in reversed(moment.triggers)]
        if all(undos):
            yield tuple(str(undo) for undo in undos)
        before = moment.states


def test_a_second_attempt_is_told(failed: dict[str, Any]) -> None:
    build = copy.deepcopy(failed)
    port = next(s for s in build["steps"] if s["name"] == "port:0")
    build["steps"].append({**port, "attempt": 2, "state": "SUCCESS", "reverted_at": None})
    subject = Subject.of(build=build)
    assert subject.run is not None
    bars = [b.label for b in recorded(subject.flow, subject.run).bars if b.name == "port:0"]

    assert node_runs(subject.flow, subject.run)["port:0"].attempts == 2
    assert bars == ["port:0", "port:0 (attempt 2)"]


def test_steps_of_another_version_are_not_lost(failed: dict[str, Any]) -> None:
    build = copy.deepcopy(failed)
    build["steps"].append({**build["steps"][0], "name": "step of old"})

    assert "step of old" in draw("timeline", build=build).decode()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"steps": None}, "expected what `buildflow show ID --json` prints"),
        ({"steps": [1]}, "`steps` is not a list of objects"),
        ({"steps": [{"name": "a", "state": "ODD"}]}, "step state 'ODD' is none of PENDING"),
        ({"steps": [{"name": "a", "state": "SUCCESS", "started_at": "noon"}]}, "ISO 8601"),
        ({"steps": [{"name": "a", "state": "SUCCESS", "seconds": "2"}]}, "not a number"),
        ({"history": {}}, None),
        ({"history": 7}, "`history` is not a list of objects"),
        ({"fault": "x"}, "`fault` is neither an object nor null"),
        ({"inputs": 3}, "`inputs` is not an object"),
        ({"flow": "no.such:flow"}, "names no flow"),
    ],
)
def test_what_is_no_build_is_refused_on_one_line(
    failed: dict[str, Any], change: dict[str, Any], why: str | None
) -> None:
    if why is None:
        assert draw("call", build={**failed, **change})
        return
    with pytest.raises(BadInput) as caught:
        draw("call", build={**failed, **change})
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_running_build_has_come_as_far_as_now(running: dict[str, Any]) -> None:
    now = datetime(2030, 1, 1, 11, tzinfo=UTC)

    assert Run.parse(running, now).now == pytest.approx(3600, abs=2)
    assert Run.parse({**running, "status": "complete"}, now).now < 100


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 ms"), (0.0001, "<1 ms"), (0.0123, "12 ms"), (0.9996, "1.00 s"), (9.994, "9.99 s"),
        (9.996, "10.0 s"), (99.96, "1 min 40 s"), (119.6, "2 min 00 s"), (3599.7, "60 min 00 s"),
        (7262, "2 h 01 min"),
    ],
)  # fmt: skip
def test_durations_are_for_people(value: float, text: str) -> None:
    assert seconds(value) == text


def test_ordinals() -> None:
    numbers = (1, 2, 3, 4, 11, 12, 13, 21, 112)
    told = [ordinal(n) for n in numbers]
    assert told == ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "112th"]


def test_no_secret_is_in_any_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not of a build whose volume was exported with a password, in no format, nor in its report."""
    given: list[str] = []

    def remembered(attachment_id: str) -> str:
        given.append(chap_password(attachment_id))
        return given[-1]

    monkeypatch.setattr(export, "chap_password", remembered)
    build = example_build(volumes=[{"size": 1}])
    formats = ("text", "mermaid", "dot", "svg", "json")
    pictures = [
        draw(kind, format=made, style="tree", build=build) for kind in KINDS for made in formats
    ]

    assert given
    for picture in (*pictures, report(build).encode()):
        assert not any(secret.encode() in picture for secret in given)
        assert b"auth_password" not in picture
