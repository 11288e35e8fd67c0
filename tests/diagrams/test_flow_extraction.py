"""What is read out of a TaskFlow flow."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from taskflow.engines.action_engine.compiler import PatternCompiler

from buildflow.diagrams.extract import extract_flow, find_flow
from buildflow.diagrams.model import FlowModel, LinkKind, NodeType, Pattern
from buildflow.errors import BadInput, DefinitionError
from buildflow.flows.build import build_flow
from tests.diagrams.samples import broken_flow, diamond, small_flow
from tests.diagrams.strategies import taskflow_flows


def links(flow: FlowModel, kind: LinkKind) -> set[tuple[str, str]]:
    return {(link.source, link.target) for link in flow.links if link.kind is kind}


def test_nesting_order_and_patterns() -> None:
    flow = extract_flow(small_flow())

    assert [(flow.depth(n.key), n.name, n.type.value) for n in flow.nodes] == [
        (0, "whole", "flow"),
        (1, "first", "task"),
        (1, "attempt", "flow"),
        (2, "twice", "retry"),
        (2, "ports", "flow"),
        (3, "port:1", "task"),
        (3, "port:2", "task"),
        (3, "port:10", "task"),
        (2, "disk", "task"),
        (1, "last", "task"),
    ]
    assert flow.by_key["ports"].pattern is Pattern.UNORDERED


def test_links_say_what_comes_next_and_what_is_handed_over() -> None:
    flow = extract_flow(small_flow())

    assert links(flow, LinkKind.ORDER) == {
        ("first", "attempt"), ("attempt", "last"), ("ports", "disk"),
    }  # fmt: skip
    assert links(flow, LinkKind.DATA) == {("port:1", "disk"), ("disk", "last")}
    assert flow.data_links()[0].names == ("vif_1",)


def test_a_graph_keeps_its_own_order() -> None:
    flow = extract_flow(diamond())

    assert links(flow, LinkKind.ORDER) == {("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")}
    assert [n.name for n in flow.tasks()] == ["a", "b", "c", "d"]


def test_the_way_back_is_the_way_there_reversed() -> None:
    places = [(place, node.name) for place, node in extract_flow(diamond()).way_back()]

    assert places == [(1, "d"), (2, "c"), (2, "b"), (3, "a")]


def test_undos_of_unordered_steps_share_a_place() -> None:
    places = [(place, node.name) for place, node in extract_flow(small_flow()).way_back()]

    assert places == [(1, "disk"), (2, "port:10"), (2, "port:2"), (2, "port:1")]


def test_a_plain_task_declares_its_undo_by_having_one() -> None:
    flow = extract_flow(small_flow())

    assert flow.by_key["disk"].undo == "Take it back"
    assert flow.by_key["first"].undo == ""


def test_the_build_flow_says_everything_of_its_steps() -> None:
    flow = extract_flow(build_flow())
    start = flow.by_key["start"]

    assert (start.effect, start.undo) == ("guest", "destroy the domain")
    assert start.on_done == ("report_running",)
    assert all(bool(n.undo) != bool(n.no_undo) for n in flow.tasks())
    assert next(n.name for n in flow.nodes if n.documented) == "buildinstance"
    assert flow.by_key["finish"].on_done == ("activate", "finish_spawning")


def test_a_provider_is_the_nearest_one() -> None:
    flow = extract_flow(build_flow(networks=[{}, {}]))

    assert ("port:1", "port:1:bind") in links(flow, LinkKind.DATA)
    assert ("port:0", "port:1:bind") not in links(flow, LinkKind.DATA)


@settings(max_examples=60, deadline=None)
@given(taskflow_flows())
def test_every_atom_is_found_once_and_in_an_order_that_taskflow_allows(flow: object) -> None:
    graph = PatternCompiler(flow).compile().execution_graph
    model = extract_flow(flow)
    place = {n.key: i for i, n in enumerate(model.nodes)}
    atoms = {n.name for n, data in graph.nodes(data=True) if data["kind"] in ("task", "retry")}

    assert {n.name for n in model.nodes if n.type is not NodeType.FLOW} == atoms
    names = {n.name: n.key for n in model.nodes}
    for before, after in graph.edges:
        if before.name in atoms and after.name in atoms:
            assert place[names[before.name]] < place[names[after.name]]


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("nothing", "write package.module:factory"),
        ("no.such.module:make", "No module named"),
        ("buildflow.flows.build:nothing", "has no attribute"),
        ("buildflow.errors:BadInput", "not a TaskFlow flow"),
        ("tests.diagrams.samples:Plain", "can't make its flow"),
        ("buildflow.diagrams.theme:EDGES", "not a TaskFlow flow"),
    ],
)
def test_a_name_that_is_no_flow_is_told_on_one_line(where: str, why: str) -> None:
    with pytest.raises(BadInput) as caught:
        find_flow(where)
    assert why in caught.value.summary
    assert "\n" not in str(caught.value)


def test_a_flow_that_does_not_compile_is_told_on_one_line() -> None:
    with pytest.raises(DefinitionError) as caught:
        extract_flow(broken_flow())
    assert "flow 'broken' does not compile" in str(caught.value)
    assert "\n" not in str(caught.value)
