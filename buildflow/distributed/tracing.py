"""OpenTelemetry traces: one a build, a span a step, when that library is installed."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Any

from buildflow.engine.core import Engine
from buildflow.engine.run import StepEvent


def trace_steps(engine: Engine) -> Tracer | None:
    """Have each build of `engine` traced; None when opentelemetry is not installed.

    The tracer must be told of each build's end.
    """
    try:
        from opentelemetry import trace
    except ImportError:
        return None
    tracer = Tracer(trace.get_tracer("buildflow"), trace)
    engine.listeners.append(tracer.listen)
    return tracer


class Tracer:
    """Opens and closes spans as steps begin and end; `api` is opentelemetry.trace."""

    def __init__(self, tracer: Any, api: Any) -> None:
        self._tracer, self._api = tracer, api
        self._lock = threading.Lock()
        self._builds: dict[str, Any] = {}
        self._steps: dict[str, dict[str, Any]] = {}

    def listen(self, event: StepEvent) -> None:
        """One event of a step."""
        at = int(datetime.fromisoformat(event.at).timestamp() * 1e9)
        with self._lock:
            build = self._builds.get(event.build)
            if build is None:
                build = self._builds[event.build] = self._tracer.start_span(
                    "build", start_time=at, attributes={"buildflow.build": event.build}
                )
            steps = self._steps.setdefault(event.build, {})
            if event.state in ("RUNNING", "REVERTING"):
                name = event.label if event.state == "RUNNING" else f"undo {event.label}"
                context = self._api.set_span_in_context(build)
                steps[event.step] = self._tracer.start_span(name, context=context, start_time=at)
                return
            span = steps.pop(event.step, None)
        if span is not None:
            span.set_attribute("buildflow.state", event.state)
            if event.error:
                span.set_status(self._api.StatusCode.ERROR, event.error)
            span.end(end_time=at)

    def ended(self, build: str, status: str | None) -> None:
        """A build has ended with this status; None when it goes on in another process."""
        with self._lock:
            steps = self._steps.pop(build, {})
            span = self._builds.pop(build, None)
        for step in steps.values():  # what was cut off
            step.end()
        if span is not None:
            span.set_attribute("buildflow.status", status or "handed over")
            if status in ("rolled_back", "residue"):
                span.set_status(self._api.StatusCode.ERROR, status)
            span.end()
