"""Named points: how they are spelled, what they stand for, and the plan that fails there."""

from __future__ import annotations

from typing import Any

import pytest

from buildflow.engine.points import FailAt, InjectedFault, Point, parse_point, points_of, slug
from buildflow.errors import BadInput
from buildflow.flows.build import build_flow


@pytest.fixture
def flow() -> Any:
    return build_flow(name="vm", image="x")


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("Wait for boot", "wait_for_boot"),
        ("_create_image", "create_image"),
        ("network_info = self._allocate_network", "allocate_network"),
        ("instance = self._spawn", "spawn"),
        ("self.driver.spawn", "driver_spawn"),
        ("port:0:bind", "port_0_bind"),
        ("to_xml", "to_xml"),
    ],
)
def test_slug(name: str, spelled: str) -> None:
    assert slug(name) == spelled


@pytest.mark.parametrize(
    ("text", "step", "where"),
    [
        ("wait_for_boot:execute", "Wait for boot", "execute"),
        ("wait_for_boot", "Wait for boot", "execute"),
        ("wait_for_boot:wait", "Wait for boot", "wait"),
        ("root_disk:made", "root disk", "made"),
        ("port_0:undone", "port:0", "undone"),
        # a box of the call diagram stands for the first step in it
        ("create_domain_and_network", "plug:0", "execute"),
        ("driver_spawn:revert", "fetch image", "revert"),
        ("create_image:recorded", "fetch image", "recorded"),
        ("Wait for boot:execute", "Wait for boot", "execute"),
    ],
)
def test_a_point_by_its_name(flow: Any, text: str, step: str, where: str) -> None:
    assert parse_point(text, flow) == Point(step, where)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nothing", "no step is called 'nothing' here; there are buildinstance"),
        ("", "no step is called ''"),
        (":execute", "no step is called ''"),
        ("start:never", "start has no point 'never'; it has start:execute, start:made"),
        # what makes no effect has none to undo
        ("to_xml:undo", "to_xml has no point 'undo'"),
        ("over_hosts", "no step is called 'over_hosts'"),
    ],
)
def test_a_point_that_is_not_there(flow: Any, text: str, told: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_point(text, flow)
    assert told in str(caught.value)


def test_every_point_parses_as_itself(flow: Any) -> None:
    points = points_of(flow)
    assert len(points) > 50
    for point in points:
        assert parse_point(str(point), flow) == point


def test_a_plan_fails_once_at_each_of_its_points() -> None:
    first, second = Point("start", "made"), Point("define", "undo")
    plan = FailAt([first, second])
    run: Any = None
    plan("execute", "start", run)
    plan("made", "define", run)
    with pytest.raises(InjectedFault, match="injected failure at start:made"):
        plan("made", "start", run)
    plan("made", "start", run)
    assert plan.waiting == [second]
    with pytest.raises(InjectedFault):
        plan("undo", "define", run)
    assert plan.waiting == []


def test_no_environment_arms_a_plan(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    import buildflow

    for name in ("BUILDFLOW_INJECT", "BUILDFLOW_POINTS", "BUILDFLOW_FAULTS"):
        monkeypatch.setenv(name, "wait_for_boot")
    with buildflow.open(tmp_path, compute_driver="simulated") as engine:
        assert engine.points is None
