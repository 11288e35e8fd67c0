"""Timelines: the lanes of states over the steps."""

from __future__ import annotations

from buildflow.diagrams import draw
from buildflow.diagrams.extract import extract_flow, plan
from buildflow.flows.build import build_flow
from tests.diagrams.samples import small_flow


def test_vm_stays_building_while_task_changes() -> None:
    """The document's second section: vm stays building, the task changes three times."""
    timeline = plan(extract_flow(build_flow()))
    lanes = {lane.name: [span.value for span in lane.spans] for lane in timeline.lanes}

    assert lanes["vm"] == ["building", "active"]
    assert lanes["task"][2:5] == ["networking", "block_device_mapping", "spawning"]
    assert lanes["power"] == ["NOSTATE", "RUNNING"]


def test_lanes_have_no_gaps_and_bars_lie_inside() -> None:
    timeline = plan(extract_flow(build_flow(volumes=[{}, {}])))

    for lane in timeline.lanes:
        assert lane.spans[0].start == 0.0
        assert lane.spans[-1].end == timeline.end
        for before, after in zip(lane.spans, lane.spans[1:], strict=False):
            assert before.end == after.start
            assert before.start < before.end
    for bar in timeline.bars:
        assert 0.0 < (bar.start or 0.0) < (bar.end or 0.0) < timeline.end


def test_a_state_begins_beside_the_step_that_fires_it() -> None:
    lines = draw("timeline").decode().splitlines()
    networking = next(line for line in lines if "self._allocate_network" in line)

    assert networking.split()[-2:] == ["networking", "|"]


def test_a_flow_that_moves_no_state_has_no_lanes() -> None:
    timeline = plan(extract_flow(small_flow()))

    assert timeline.lanes == ()
    assert "port:10" in draw("timeline", flow=small_flow()).decode()
