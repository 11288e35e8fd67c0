"""A conductor's figures in Prometheus' format, on a loopback port, when that library is there."""

from __future__ import annotations

from typing import Any


class Metrics:
    """Counters and gauges of one conductor. Without prometheus-client they count nothing."""

    def __init__(self) -> None:
        try:
            import prometheus_client as prometheus
        except ImportError:
            self._prometheus: Any = None
            return
        self._prometheus = prometheus
        self.registry = prometheus.CollectorRegistry()
        make: dict[str, Any] = {"registry": self.registry}
        self._ended = prometheus.Counter(
            "buildflow_builds", "Builds that ended here, by status", ["status"], **make
        )
        self._build_seconds = prometheus.Histogram(
            "buildflow_build_seconds", "Time from claim to end of a build", **make
        )
        self._step_seconds = prometheus.Histogram(
            "buildflow_step_seconds", "Time of a step", ["step"], **make
        )
        self._rollbacks = prometheus.Counter(
            "buildflow_rollbacks", "Builds that began to roll back", **make
        )
        self._residue = prometheus.Counter(
            "buildflow_residue", "Builds that ended with residue", **make
        )
        self._queue = prometheus.Gauge("buildflow_queue_length", "Jobs that wait or run", **make)
        self._running = prometheus.Gauge("buildflow_running", "Builds that run here", **make)
        self._claims = prometheus.Counter("buildflow_claims", "Jobs claimed", **make)
        self._lost = prometheus.Counter("buildflow_claims_lost", "Claims lost", **make)
        self._aside = prometheus.Counter("buildflow_jobs_set_aside", "Jobs set aside", **make)
        self._begun: dict[tuple[str, str], float] = {}
        self._backwards: set[str] = set()

    def serve(self, port: int) -> int:
        """Answer scrapes on 127.0.0.1:`port` (0 for a free one); returns the port."""
        if self._prometheus is None:
            return 0
        server, _ = self._prometheus.start_http_server(
            port, addr="127.0.0.1", registry=self.registry
        )
        return int(server.server_port)

    def claimed(self) -> None:
        """A job was claimed."""
        if self._prometheus is not None:
            self._claims.inc()

    def lost(self) -> None:
        """A claim was lost."""
        if self._prometheus is not None:
            self._lost.inc()

    def set_aside(self) -> None:
        """A job was set aside."""
        if self._prometheus is not None:
            self._aside.inc()

    def running(self, count: int) -> None:
        """How many builds run here."""
        if self._prometheus is not None:
            self._running.set(count)

    def queue(self, length: int) -> None:
        """How many jobs wait or run."""
        if self._prometheus is not None:
            self._queue.set(length)

    def ended(self, status: str, seconds: float) -> None:
        """A build ended here."""
        if self._prometheus is not None:
            self._ended.labels(status).inc()
            self._build_seconds.observe(seconds)
            if status == "residue":
                self._residue.inc()

    def heard(self, event: Any) -> None:
        """A step's event (engine/run.py: StepEvent); a listener of the engine."""
        if self._prometheus is None:
            return
        from datetime import datetime

        at = datetime.fromisoformat(event.at).timestamp()
        key = (event.build, event.step)
        if event.state == "RUNNING":
            self._begun[key] = at
        elif event.state in ("SUCCESS", "FAILURE"):
            begun = self._begun.pop(key, None)
            if begun is not None:
                self._step_seconds.labels(_kind_of(event.step)).observe(at - begun)
        if event.status == "rolling_back" and event.build not in self._backwards:
            self._backwards.add(event.build)
            self._rollbacks.inc()
        if event.status in ("rolled_back", "complete", "residue"):
            self._backwards.discard(event.build)


def _kind_of(step: str) -> str:
    """A step's name without its numbers: labels must be few."""
    return ":".join(part for part in step.split(":") if not part.isdigit())
