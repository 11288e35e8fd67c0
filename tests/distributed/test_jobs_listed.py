"""`buildflow jobs` and `show`: what waits for what, and why."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from buildflow.api import VmEngine
from buildflow.cli import main
from buildflow.config import Settings
from buildflow.distributed.capacity import Capacity, HostRow
from buildflow.distributed.jobs import ASIDE, ASKED, Jobs
from buildflow.engine.guard import Intention
from buildflow.flows.request import parse_request

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[VmEngine]:
    with VmEngine(Settings(home=tmp_path, compute_driver="simulated"), watch_s=None) as engine:
        yield engine


@pytest.fixture
def jobs(engine: VmEngine) -> Jobs:
    return Jobs(engine.store, engine.clock)


@pytest.fixture
def call(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Call:
    for variable in ("BUILDFLOW_JOBBOARD", "BUILDFLOW_STORE"):
        monkeypatch.delenv(variable, raising=False)

    def call(*words: str) -> tuple[int, str, str]:
        code = main(["--home", str(tmp_path), "--compute-driver", "simulated", *words])
        return code, *capfd.readouterr()

    return call


def queued(engine: VmEngine, name: str) -> str:
    request = parse_request(name=name, image="tiny")
    return str(engine.accept_build(request, queue=True)["id"])


def aside(jobs: Jobs, build: str, reason: str) -> None:
    jobs.post(build)
    row = jobs.glance(build)
    assert row is not None
    assert jobs.failed(row, reason, max_tries=1)


def test_only_what_has_a_job_is_tried_again(engine: VmEngine, jobs: Jobs, call: Call) -> None:
    waits = queued(engine, "waits")
    aside(jobs, waits, "no room")
    engine.build(parse_request(name="ended", image="tiny")).wait()
    code, out, err = call("jobs", "--retry", "waits", "--retry", "ended")
    assert (code, out) == (2, "")
    assert "ended is complete, and nothing waits to be done for it" in err
    known = jobs.row(waits)
    assert known is not None
    assert known["state"] == ASIDE, "nothing is done"
    assert call("jobs", "--retry", "waits")[0] == 0
    known = jobs.row(waits)
    assert known is not None
    assert known["state"] == ASKED


def test_a_job_says_what_it_is_for(engine: VmEngine, jobs: Jobs, call: Call) -> None:
    jobs.post(queued(engine, "new"))
    gone = engine.build(parse_request(name="gone", image="tiny")).wait()["id"]
    engine.store.request_stop(gone, "deleted")
    jobs.post(gone, ASKED)
    rows = json.loads(call("jobs", "--json")[1])
    assert {row["name"]: row["intention"] for row in rows} == {
        "new": Intention.RUN,
        "gone": Intention.DELETE,
    }
    lines = {line.split()[1]: line for line in call("jobs")[1].splitlines()}
    assert "delete" in lines["gone"]


def test_what_is_over_is_not_tried_again(engine: VmEngine, jobs: Jobs, call: Call) -> None:
    """Its job may be listed still: a conductor takes it off the board."""
    jobs.post(queued(engine, "gone"))
    assert call("delete", "gone")[0] == 0
    code, _, err = call("jobs", "--retry", "gone")
    assert code == 2
    assert "gone is rolled_back, and nothing waits" in err


def test_what_nobody_has_begun_is_cancelled_without_anybody(
    engine: VmEngine, jobs: Jobs, call: Call
) -> None:
    jobs.post(queued(engine, "vm"))
    code, out, _ = call("cancel", "vm", "--no-wait")
    assert (code, out) == (0, "vm will be rolled back by the next conductor that is free\n")
    (row,) = json.loads(call("jobs", "--json")[1])
    assert row["intention"] == "cancel"
    assert call("cancel", "vm")[:2] == (0, "vm is rolled back\n")


def test_a_removal_that_no_conductor_begins_with_is_told(
    engine: VmEngine, jobs: Jobs, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("buildflow.distributed.request.UNBEGUN_S", 1.0)
    shown = engine.build(parse_request(name="vm", image="tiny")).wait()
    host = HostRow(shown["host"], "sim:///", vcpus=1, memory_mib=64, disk_gib=1)
    Capacity(engine.store, engine.clock).offer(host)
    code, _, err = call("delete", "vm")
    assert code == 4
    assert "no conductor has begun with it for 1 s; it stays asked for" in err
    (row,) = jobs.listed()
    assert (row["build"], row["state"]) == (shown["id"], ASKED)


@pytest.mark.parametrize("verb", ["cancel", "delete"])
def test_what_nobody_has_begun_does_not_wait_for_a_conductor_that_is_busy(
    engine: VmEngine, jobs: Jobs, call: Call, verb: str
) -> None:
    host = HostRow("h1", "sim:///", vcpus=1, memory_mib=64, disk_gib=1)
    Capacity(engine.store, engine.clock).offer(host)
    build = queued(engine, "vm")
    jobs.post(build)
    row = jobs.glance(build)
    assert row is not None
    jobs.failed(row, "no host has room (h1: it is full)")
    begun = time.monotonic()
    assert call(verb, "vm")[0] == 0
    assert time.monotonic() - begun < 8
    assert engine.show(build)["status"] == "rolled_back"


def test_a_request_id_of_another_build_is_told(engine: VmEngine, call: Call) -> None:
    board = ("--jobboard", "redis://127.0.0.1:1/0")
    words = ("submit", "vm", "--image", "tiny", "--request-id", "k", *board)
    assert "asked for otherwise" not in call(*words)[2]
    assert "asked for otherwise" not in call(*words)[2]
    assert "asked for otherwise" in call(*words, "--memory", "1024")[2]
    large = ("submit", "large", "--image", "tiny", "--request-id", "l", *board)
    call(*large, "--memory", "1024")
    assert "asked for otherwise" in call(*large)[2], "without what was asked for then, too"
    code, _, err = call("submit", "other", "--image", "tiny", "--request-id", "k", *board)
    assert code == 0
    assert "request id 'k' is that of vm, which was asked for otherwise" in err


def test_show_says_why_a_build_waits(engine: VmEngine, jobs: Jobs, call: Call) -> None:
    build = queued(engine, "vm")

    def job() -> Any:
        return json.loads(call("show", "vm", "--json")[1])["job"]

    assert job() is None
    assert "job" not in call("show", "vm")[1]
    aside(jobs, build, "no host has room (h1: no memory)")
    found = job()
    assert (found["state"], found["tries"]) == ("aside", 1)
    assert found["reason"] == "no host has room (h1: no memory)"
    lines = call("show", "vm")[1].splitlines()
    (line,) = [line for line in lines if line.startswith("job")]
    assert line.split(maxsplit=1)[1] == "aside, tried 1 time: no host has room (h1: no memory)"
