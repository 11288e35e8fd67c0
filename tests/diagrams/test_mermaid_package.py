"""Our Mermaid text in the real Mermaid package: it parses, and draws what was meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from buildflow.diagrams import KINDS, MACHINES, draw
from buildflow.diagrams.example import example_build
from buildflow.diagrams.mermaid import flow_mermaid, machine_mermaid
from buildflow.diagrams.model import FlowModel, MachineModel
from tests.diagrams.chromium import mermaid_script
from tests.diagrams.samples import diamond, small_flow
from tests.diagrams.strategies import flow_models, machine_models

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def mermaid(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Gives a function: text -> the error with which Mermaid refuses it, or None; or its SVG."""
    folder: Path = tmp_path_factory.mktemp("mermaid")
    html = folder / "page.html"
    html.write_text(f'<meta charset="utf-8"><script src="file://{mermaid_script()}"></script>')
    browser.get(f"file://{html}")
    browser.execute_script("mermaid.initialize({startOnLoad: false})")

    def ask(text: str, *, render: bool = False) -> str | None:
        call = "mermaid.render('p', text).then(r => r.svg)" if render else "mermaid.parse(text)"
        answer: list[Any] = browser.execute_async_script(
            f"const [text, done] = arguments; {call}"
            ".then(found => done([true, found]), error => done([false, String(error)]))",
            text,
        )
        if render:
            assert answer[0], answer[1]
            return str(answer[1])
        return None if answer[0] else str(answer[1])

    return ask


def test_it_refuses_what_is_wrong(mermaid: Any) -> None:
    assert mermaid("flowchart TB\n  a[ --> b") is not None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("with_build", [False, True])
def test_every_picture_parses(mermaid: Any, kind: str, with_build: bool) -> None:
    build = example_build() if with_build else None
    for machine in (*MACHINES, None) if kind == "states" else (None,):
        text = draw(kind, format="mermaid", build=build, machine=machine).decode()
        assert mermaid(text) is None
    for flow in (small_flow(), diamond()):
        assert mermaid(draw(kind, format="mermaid", flow=flow).decode()) is None


def test_it_draws_every_state_and_trigger(mermaid: Any) -> None:
    svg = mermaid(draw("states", format="mermaid", machine="task").decode(), render=True)

    for word in (
        "block_device_mapping",
        "start_spawning",
        "give_up",
        "from every",
        "undo of spawning",
    ):
        assert word in svg


def test_it_draws_every_step_and_undo(mermaid: Any) -> None:
    svg = mermaid(draw("flow", format="mermaid").decode(), render=True)

    for word in (
        "self._allocate_network",
        "Wait for boot",
        "needs host",
        "destroy the",
        "network_info",
    ):
        assert word in svg
    assert "Unsupported markdown" not in svg


_CHECKS = [HealthCheck.function_scoped_fixture]


@settings(max_examples=60, deadline=None, suppress_health_check=_CHECKS)
@given(flow=flow_models())
def test_any_flow_parses(mermaid: Any, flow: FlowModel) -> None:
    assert mermaid(flow_mermaid(flow)) is None


@settings(max_examples=60, deadline=None, suppress_health_check=_CHECKS)
@given(machine=machine_models())
def test_any_machine_parses(mermaid: Any, machine: MachineModel) -> None:
    assert mermaid(machine_mermaid(machine)) is None
