"""Our Graphviz text: pydot reads it, and the real `dot` lays it out."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import pydot
import pytest
from hypothesis import given, settings

from buildflow.diagrams import KINDS, draw
from buildflow.diagrams.dot import flow_dot, machine_dot
from buildflow.diagrams.example import example_build
from buildflow.diagrams.model import FlowModel, MachineModel
from buildflow.errors import BadInput, HostUnusable
from tests.diagrams.samples import diamond, small_flow
from tests.diagrams.strategies import flow_models, machine_models

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="needs Debian's graphviz")


def laid_out(text: str) -> str:
    """What Graphviz makes of it; it fails on the least complaint."""
    done = subprocess.run(
        ["dot", "-Tplain"], input=text, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stderr, done.stderr
    return done.stdout


@needs_dot
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("with_build", [False, True])
def test_every_picture_is_laid_out(kind: str, with_build: bool) -> None:
    build = example_build() if with_build else None
    machines = ("vm", "task", "power", "joint", None) if kind == "states" else (None,)
    for machine in machines:
        assert laid_out(draw(kind, format="dot", build=build, machine=machine).decode())
    for flow in (small_flow(), diamond()):
        assert laid_out(draw(kind, format="dot", flow=flow).decode())


@needs_dot
@pytest.mark.parametrize("kind", KINDS)
def test_graphviz_lays_pictures_out_on_request(kind: str) -> None:
    assert b"<svg" in draw(kind, format="svg", layout="graphviz")
    assert draw(kind, format="png", layout="graphviz").startswith(b"\x89PNG")


def test_a_missing_graphviz_is_told_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")

    with pytest.raises(HostUnusable, match="apt install graphviz"):
        draw("flow", format="svg", layout="graphviz")
    assert b"<svg" in draw("flow", format="svg")
    with pytest.raises(BadInput, match="Graphviz lays out svg and png, not text"):
        draw("flow", layout="graphviz")


def test_undos_are_told_in_the_timeline() -> None:
    text = draw("timeline", format="dot", build=example_build()).decode()

    assert "undone 1st in 200 ms" in text
    assert "4.10 s, FAILED" in text


def read_back(dot: bytes) -> Any:
    graphs = pydot.graph_from_dot_data(dot.decode())
    assert graphs is not None
    (graph,) = graphs
    return graph


def test_pydot_finds_the_states_and_edges() -> None:
    graph = read_back(draw("states", format="dot", machine="vm"))

    assert {n.get_name() for n in graph.get_nodes()} >= {"s0", "s1", "s2", "s3", "first", "legend"}
    labels = [edge.get_label() or "" for edge in graph.get_edges()]
    assert sum("activate" in label for label in labels) == 2
    assert any("deactivate" in label for label in labels)


def test_nested_flows_are_clusters() -> None:
    graph = read_back(draw("flow", format="dot", flow=small_flow()))
    (whole,) = (s for s in graph.get_subgraphs() if s.get_name().startswith("cluster"))
    (attempt,) = whole.get_subgraphs()

    assert [s.get_name() for s in attempt.get_subgraphs()] == ["cluster_n4"]


@needs_dot
@settings(max_examples=40, deadline=None)
@given(flow_models())
def test_any_flow_is_laid_out(flow: FlowModel) -> None:
    assert laid_out(flow_dot(flow))


@needs_dot
@settings(max_examples=40, deadline=None)
@given(machine_models())
def test_any_machine_is_laid_out(machine: MachineModel) -> None:
    assert laid_out(machine_dot(machine))
