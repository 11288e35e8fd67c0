"""SVG pictures: nothing covers a text, nothing is cut off, no edge runs through a state."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from lxml import etree

from buildflow.diagrams import draw
from buildflow.diagrams.example import example_build
from buildflow.diagrams.model import FlowModel, MachineModel
from buildflow.diagrams.svg import chart_scene, flow_scene
from buildflow.diagrams.svg.scene import COLOURS
from tests.diagrams.samples import diamond, door, long_flow, small_flow
from tests.diagrams.strategies import flow_models, machine_models
from tests.diagrams.svg_shapes import Shapes, read_shapes


@pytest.fixture(scope="module")
def failed() -> dict[str, Any]:
    return example_build()


def sound(shapes: Shapes) -> None:
    """No two texts overlap, and all of every text is inside the picture."""
    for first, second in combinations(shapes.texts, 2):
        assert not first.overlaps(second), f"{first.text!r} and {second.text!r} overlap"
    for text in shapes.texts:
        assert text.x >= 0, f"{text.text!r} is cut off on the left"
        assert text.y >= 0, f"{text.text!r} is cut off above"
        assert text.x + text.width <= shapes.width, f"{text.text!r} is cut off on the right"
        assert text.y + text.height <= shapes.height, f"{text.text!r} is cut off below"


def no_line_through_a_text(shapes: Shapes) -> None:
    for line in shapes.lines:
        for text in shapes.texts:
            grown = type(line)(line.x - 0.1, line.y - 0.1, line.width + 0.2, line.height + 0.2)
            assert not grown.overlaps(text, 0.15), f"a line runs through {text.text!r}"


def no_line_through_a_state(shapes: Shapes, width: float) -> None:
    """The states are the boxes of the chart's own width; no edge may enter one."""
    states = [box for box in shapes.boxes if abs(box.width - width) < 0.2]
    assert states
    for line in shapes.lines:
        for state in states:
            inner = type(state)(state.x + 2, state.y + 2, state.width - 4, state.height - 4)
            grown = type(line)(line.x - 0.1, line.y - 0.1, line.width + 0.2, line.height + 0.2)
            assert not grown.overlaps(inner, 0.15), "an edge runs through a state"


def no_rails_on_each_other(shapes: Shapes) -> None:
    upright = [line for line in shapes.lines if line.width < 0.1 and line.height > 6]
    for first, second in combinations(upright, 2):
        shared = min(first.y + first.height, second.y + second.height) - max(first.y, second.y)
        assert abs(first.x - second.x) > 2 or shared < 2, "two rails run on each other"


def chart_width(shapes: Shapes) -> float:
    return max(box.width for box in shapes.boxes)


@pytest.mark.parametrize("machine", ["vm", "task", "power", "joint", None])
@pytest.mark.parametrize("with_build", [False, True])
def test_state_charts(machine: str | None, with_build: bool, failed: dict[str, Any]) -> None:
    build = failed if with_build else None
    shapes = read_shapes(draw("states", format="svg", machine=machine, build=build))

    sound(shapes)
    no_line_through_a_text(shapes)
    if machine is not None:
        no_line_through_a_state(shapes, chart_width(shapes))


@settings(max_examples=80, deadline=None)
@given(machine_models(most=8))
def test_any_chart(machine: MachineModel) -> None:
    shapes = read_shapes(chart_scene(machine).svg().encode())

    sound(shapes)
    no_line_through_a_text(shapes)


@settings(max_examples=60, deadline=None)
@given(flow_models())
def test_any_flow(flow: FlowModel) -> None:
    shapes = read_shapes(flow_scene(flow).svg().encode())

    sound(shapes)
    no_line_through_a_text(shapes)
    no_rails_on_each_other(shapes)


@pytest.mark.parametrize("kind", ["call", "flow", "timeline"])
@pytest.mark.parametrize("with_build", [False, True])
def test_the_other_pictures(kind: str, with_build: bool, failed: dict[str, Any]) -> None:
    build = failed if with_build else None
    for style in ("documented", "tree"):
        sound(read_shapes(draw(kind, format="svg", build=build, style=style)))


@pytest.mark.parametrize("make", [small_flow, diamond, long_flow])
def test_flows_of_the_users_own(make: Any) -> None:
    for kind in ("call", "flow", "timeline"):
        sound(read_shapes(draw(kind, format="svg", flow=make())))


def test_results_have_rails_of_their_own() -> None:
    from buildflow.flows.build import build_flow

    flow = build_flow(volumes=[{}, {}, {}], networks=[{}, {}])
    for each in (flow, diamond(), small_flow()):
        shapes = read_shapes(draw("flow", format="svg", flow=each))
        no_line_through_a_text(shapes)
        no_rails_on_each_other(shapes)


def test_every_step_has_a_box_of_its_own() -> None:
    shapes = read_shapes(draw("flow", format="svg", flow=small_flow()))
    texts = {text.text: text for text in shapes.texts}

    for name in ("first", "port:1", "port:2", "port:10", "disk", "last"):
        holding = [b for b in shapes.boxes if b.overlaps(texts[name], texts[name].height * 0.9)]
        assert min(holding, key=lambda box: box.width * box.height).height < 50


def test_data_is_labelled_and_undos_are_numbered() -> None:
    texts = {text.text for text in read_shapes(draw("flow", format="svg")).texts}

    assert {"network_info", "block_device_info", "1. destroy the domain"} <= texts
    assert "a retry's scope: when a step in it fails it is undone, and tried again" in texts


def test_charts_have_a_legend_for_what_they_use() -> None:
    texts = " ".join(t.text for t in read_shapes(draw("states", format="svg", machine="vm")).texts)

    for word in ("forward:", "compensating:", "failing:", "deleting:", "terminal:", "stuck:"):
        assert word in texts
    door_texts = " ".join(
        t.text for t in read_shapes(draw("states", format="svg", machine=door())).texts
    )
    assert "deleting:" not in door_texts


def test_a_picture_follows_dark_and_light() -> None:
    svg = draw("states", format="svg", machine="task").decode()

    assert "@media (prefers-color-scheme: dark)" in svg
    for used in set(re.findall(r"class=\"[fs]-([a-z-]+)", svg)):
        assert f"-{used}{{" in svg.partition("</style>")[0], f"{used} has no dark colour"


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(a: str, b: str) -> float:
    high, low = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("side", [0, 1], ids=["light", "dark"])
def test_texts_can_be_read_on_what_they_stand_on(side: int) -> None:
    """At least 4.5 to 1, as WCAG 2 asks of small text; lines at least 3 to 1."""
    ink, quiet = COLOURS["ink"][side], COLOURS["quiet"][side]
    for name, pair in COLOURS.items():
        if name.endswith("-fill") or name in ("paper", "box", "nest"):
            assert _contrast(ink, pair[side]) >= 4.5, name
        if name in ("paper", "box", "nest"):
            assert _contrast(quiet, pair[side]) >= 4.5, name
        if name.startswith("edge-") or name.endswith("-line"):
            needed = 3.0 if name == "pending-line" else 4.5
            assert _contrast(pair[side], COLOURS["paper"][side]) >= needed, name


def test_names_are_quoted() -> None:
    from taskflow.patterns import linear_flow

    from tests.diagrams.samples import Plain

    flow = linear_flow.Flow("<b>&").add(Plain('"quoted" <script>alert(1)</script>'))
    for kind in ("call", "flow", "timeline"):
        etree.fromstring(draw(kind, format="svg", flow=flow))
        assert b"<script>" not in draw(kind, format="svg", flow=flow)
