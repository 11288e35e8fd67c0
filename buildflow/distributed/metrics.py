"""A conductor's figures in Prometheus' format, on a loopback port, when that library is there."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from buildflow.errors import HostUnusable


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
        # by build, when each of its steps began
        self._begun: dict[str, dict[str, float]] = {}
        self._backwards: set[str] = set()

    def serve(self, port: int) -> int:
        """Answer scrapes on 127.0.0.1:`port` (0 for a free one); returns the port.

        Raises HostUnusable without prometheus-client, or when the port is taken.
        """
        if self._prometheus is None:
            raise HostUnusable(
                "--metrics-port needs prometheus-client: `pip install 'buildflow-vm[metrics]'`"
            )
        try:
            return self._serve(port)
        except OSError as error:
            raise HostUnusable(f"no figures on 127.0.0.1:{port}: {error.strerror}") from error

    def _serve(self, port: int) -> int:
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

    def removing(self, build: str) -> None:
        """A build that has ended is taken apart, which is no rollback."""
        if self._prometheus is not None:
            self._backwards.add(build)

    def forget(self, build: str) -> None:
        """A build has ended, or goes on elsewhere."""
        if self._prometheus is not None:
            self._begun.pop(build, None)
            self._backwards.discard(build)

    def heard(self, event: Any) -> None:
        """A step's event (engine/run.py: StepEvent); a listener of the engine."""
        if self._prometheus is None:
            return
        at = datetime.fromisoformat(event.at).timestamp()
        steps = self._begun.setdefault(event.build, {})
        if event.state == "RUNNING":
            steps[event.step] = at
        elif event.state in ("SUCCESS", "FAILURE"):
            begun = steps.pop(event.step, None)
            if begun is not None:
                self._step_seconds.labels(_kind_of(event.step)).observe(at - begun)
        if event.status == "rolling_back" and event.build not in self._backwards:
            self._backwards.add(event.build)
            self._rollbacks.inc()


def _kind_of(step: str) -> str:
    """A step's name without its numbers: labels must be few."""
    return ":".join(part for part in step.split(":") if not part.isdigit())
