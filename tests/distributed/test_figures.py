"""What a conductor tells of its work: Prometheus' figures, OpenTelemetry's spans."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from buildflow.api import VmEngine
from buildflow.config import Settings
from buildflow.distributed.metrics import Metrics
from buildflow.distributed.tracing import Tracer
from buildflow.drivers.simulated import SimulatedWorld
from buildflow.drivers.simulated.factory import drivers_of
from buildflow.errors import HostUnusable
from tests.distributed.fleet import IMAGE, Fleet


@pytest.mark.services
@pytest.mark.slow
def test_the_figures_of_a_conductor(new_fleet: Callable[..., Fleet]) -> None:
    fleet = new_fleet(options={"guests": {"bad": "powers_off"}})
    fleet.start("a", arguments=["--metrics-port", "0"])
    for name in ("good1", "good2", "bad"):
        fleet.submit(name, memory_mib=64)
    fleet.until(fleet.all_ended, "end", 60)
    fleet.until(lambda: fleet.figures("a")["buildflow_build_seconds_count"] == 3, "all counted", 20)
    fleet.until(lambda: fleet.figures("a")["buildflow_running"] == 0, "idle conductor", 20)
    told = fleet.figures("a")
    assert told['buildflow_builds_total{status="complete"}'] == 2
    assert told['buildflow_builds_total{status="rolled_back"}'] == 1
    assert told["buildflow_rollbacks_total"] == 1
    assert told["buildflow_residue_total"] == 0
    assert told["buildflow_claims_total"] == 3, fleet.log("a")
    assert told["buildflow_claims_lost_total"] == 0
    assert told["buildflow_build_seconds_count"] == 3
    # the bad guest was started on each of three hosts
    assert told['buildflow_step_seconds_count{step="start"}'] == 5
    assert 'buildflow_step_seconds_count{step="port:bind"}' in told, "no label for each NIC"
    fleet.submit("waits", memory_mib=999_999_999 // 64)
    fleet.until(lambda: fleet.figures("a")["buildflow_queue_length"] == 1, "queue", 20)


def test_a_port_that_is_taken_is_told_in_a_line() -> None:
    metrics = Metrics()
    port = metrics.serve(0)
    with pytest.raises(HostUnusable, match=rf"no figures on 127\.0\.0\.1:{port}"):
        Metrics().serve(port)


def test_a_trace_a_build_and_a_span_a_step(tmp_path: Path) -> None:
    sdk = pytest.importorskip("opentelemetry.sdk.trace")
    export = pytest.importorskip("opentelemetry.sdk.trace.export")
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    from opentelemetry import trace

    spans = memory.InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(spans))
    tracer = Tracer(provider.get_tracer("buildflow"), trace)
    world = SimulatedWorld(options={"guests": {"bad": "powers_off"}})
    with VmEngine(Settings(home=tmp_path), drivers_of(world), listener=tracer.listen) as engine:
        statuses = {}
        for name in ("good", "bad"):
            handle = engine.build(name=name, image=IMAGE, memory_mib=64)
            shown = handle.wait()
            statuses[handle.id] = shown["status"]
            tracer.ended(handle.id, shown["status"])
            listed = [step for step in shown["steps"] if step["started_at"] is not None]
            mine = [
                span
                for span in spans.get_finished_spans()
                if span.parent is not None and not span.name.startswith("undo ")
            ]
            steps = [span for span in mine if span.name != "over hosts"]
            assert len(steps) == len([step for step in listed if step["name"] != "over hosts"])
            assert all(span.start_time <= span.end_time for span in steps)
            if name == "bad":
                (failed,) = [span for span in steps if span.status.status_code.name == "ERROR"]
                assert "powered off" in failed.status.description
                undone = [s for s in spans.get_finished_spans() if s.name.startswith("undo ")]
                assert len(undone) >= 10
            roots = [span for span in spans.get_finished_spans() if span.parent is None]
            (root,) = roots
            assert root.attributes["buildflow.build"] == handle.id
            assert root.attributes["buildflow.status"] == shown["status"]
            assert {span.context.trace_id for span in spans.get_finished_spans()} == {
                root.context.trace_id
            }
            spans.clear()
    assert sorted(statuses.values()) == ["complete", "rolled_back"]
    assert tracer._builds == tracer._steps == {}
