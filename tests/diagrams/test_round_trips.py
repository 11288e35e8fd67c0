"""Models written as JSON and as Mermaid come back the same, whatever they hold."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from buildflow.diagrams.extract import extract_flow, extract_joint, extract_machine, plan
from buildflow.diagrams.mermaid import flow_mermaid, machine_mermaid, read_flow, read_machine
from buildflow.diagrams.model import FlowModel, MachineModel
from buildflow.diagrams.model.codec import dumps, loads
from buildflow.errors import BadInput
from buildflow.flows.build import build_flow
from buildflow.states import TABLES
from tests.diagrams.strategies import flow_models, machine_models, taskflow_flows


@settings(max_examples=120, deadline=None)
@given(flow_models())
def test_flows(flow: FlowModel) -> None:
    assert loads(dumps(flow)) == flow
    assert read_flow(flow_mermaid(flow)) == flow


@settings(max_examples=120, deadline=None)
@given(machine_models())
def test_machines(machine: MachineModel) -> None:
    assert loads(dumps(machine)) == machine
    assert read_machine(machine_mermaid(machine)) == machine


@settings(max_examples=60, deadline=None)
@given(taskflow_flows())
def test_flows_of_taskflow(flow: object) -> None:
    model = extract_flow(flow)

    assert loads(dumps(model)) == model
    assert read_flow(flow_mermaid(model)) == model


def test_the_real_ones() -> None:
    flow = extract_flow(build_flow(volumes=[{}, {"id": "v"}], networks=[{}, {}]))
    machines = [*(extract_machine(table, flow) for table in TABLES.values()), extract_joint(flow)]

    assert read_flow(flow_mermaid(flow)) == flow
    for machine in machines:
        assert read_machine(machine_mermaid(machine)) == machine
    assert loads(dumps(plan(flow))) == plan(flow)


def test_what_is_drawn_is_read_from_the_drawing() -> None:
    """An arrow that is taken out of the Mermaid text is gone from the model: no copy is hidden."""
    flow = extract_flow(build_flow())
    text = flow_mermaid(flow)
    arrow = next(line for line in text.splitlines() if "==>" in line)
    machine = extract_machine(TABLES["vm"], flow)
    edge = next(line for line in machine_mermaid(machine).splitlines() if "delete_error" in line)

    assert len(read_flow(text.replace(arrow + "\n", "")).links) == len(flow.links) - 1
    fewer = read_machine(machine_mermaid(machine).replace(edge + "\n", ""))
    assert "delete_error" not in {e.trigger for e in fewer.edges}


def test_what_is_not_drawn_is_one_line_at_the_end() -> None:
    lines = flow_mermaid(extract_flow(build_flow())).splitlines()

    assert [number for number, line in enumerate(lines, 1) if "%%" in line] == [len(lines)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"kind": "flow"}',
        '{"kind": "flow", "version": 2}',
        '{"kind": "flow", "version": 1, "nodes": []}',
        '{"kind": "flow", "version": 1, "nodes": 7}',
        '{"kind": "flow", "version": 1, "nodes": [{"key": "a"}]}',
        '{"kind": "machine", "version": 1, "name": "m", "initial": "x", "states": [], "edges": []}',
        '{"kind": "flow", "version": 1, "nodes": [], "surprise": 1}',
    ],
)
def test_what_is_no_diagram_is_refused_on_one_line(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        loads(text)
    assert "\n" not in str(caught.value)


def test_mermaid_that_is_not_ours_is_refused() -> None:
    for read in (read_flow, read_machine):
        with pytest.raises(BadInput, match="not Mermaid of ours"):
            read("graph LR\n  a --> b\n")
