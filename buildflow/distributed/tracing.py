"""OpenTelemetry traces: one a build, a span a step, when that library is installed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from buildflow.engine.core import Engine
from buildflow.engine.run import StepEvent


def trace_steps(engine: Engine) -> bool:
    """Have each build of `engine` traced; False when opentelemetry is not installed."""
    try:
        from opentelemetry import trace
    except ImportError:
        return False
    engine.listeners.append(_Tracer(trace.get_tracer("buildflow"), trace).listen)
    return True


class _Tracer:
    def __init__(self, tracer: Any, api: Any) -> None:
        self._tracer, self._api = tracer, api
        self._builds: dict[str, Any] = {}
        self._steps: dict[tuple[str, str], Any] = {}

    def listen(self, event: StepEvent) -> None:
        """Open and close spans as steps begin and end."""
        at = int(datetime.fromisoformat(event.at).timestamp() * 1e9)
        build = self._builds.get(event.build)
        if build is None:
            build = self._tracer.start_span(
                "build", start_time=at, attributes={"buildflow.build": event.build}
            )
            self._builds[event.build] = build
        key = (event.build, event.step)
        if event.state in ("RUNNING", "REVERTING"):
            name = event.label if event.state == "RUNNING" else f"undo {event.label}"
            self._steps[key] = self._tracer.start_span(
                name, context=self._api.set_span_in_context(build), start_time=at
            )
            return
        span = self._steps.pop(key, None)
        if span is not None:
            span.set_attribute("buildflow.state", event.state)
            if event.error:
                span.set_status(self._api.StatusCode.ERROR, event.error)
            span.end(end_time=at)
        if event.status in ("complete", "rolled_back", "residue"):
            self._builds.pop(event.build).end(end_time=at)
