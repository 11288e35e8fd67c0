"""Several conductors as real processes over one store, one jobboard and one simulated world."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import update

from buildflow.api import VmEngine
from buildflow.config import Settings
from buildflow.distributed.board import Board
from buildflow.distributed.capacity import SILENT_S, Capacity
from buildflow.distributed.jobs import Jobs
from buildflow.drivers.simulated import SimulatedWorld
from buildflow.engine.clock import stamp
from buildflow.engine.schema import hosts
from buildflow.flows.request import parse_request
from tests.distributed.warm import Warm, WarmProcess

ENDED = ("complete", "rolled_back", "residue")
IMAGE = "tiny"


class Fleet:
    """See the module. `options` are the simulated world's (drivers/simulated/options.py).

    With `warm` processes are forks of it, else started cold."""

    def __init__(
        self,
        home: Path,
        store: str,
        jobboard: str,
        *,
        hosts: Sequence[str] = ("h1", "h2", "h3"),
        expiry_s: float = 3.0,
        options: dict[str, Any] | None = None,
        warm: Warm | None = None,
    ) -> None:
        self.home, self.store, self.jobboard = home, store, jobboard
        self.hosts, self.expiry_s = hosts, expiry_s
        self.world_path = home / "world.jsonl"
        self.world = SimulatedWorld(str(self.world_path), options=options or {})
        settings = Settings(home=home, store=store, compute_driver="simulated")
        self.engine = VmEngine(settings, watch_s=None)
        self.jobs = Jobs(self.engine.store, self.engine.clock)
        self.capacity = Capacity(self.engine.store, self.engine.clock)
        self.board = Board(jobboard, "tests", expiry_s=expiry_s)
        self.conductors: dict[str, subprocess.Popen[bytes] | WarmProcess] = {}
        self._warm = warm

    def submit(self, name: str, **fields: Any) -> str:
        """Post one build; returns its id."""
        build = self.submit_nowhere(name, **fields)
        self.jobs.post(build)
        self.board.post(build)
        return build

    def submit_nowhere(self, name: str, **fields: Any) -> str:
        """Accept one build without a job; returns its id."""
        fields = {"image": IMAGE, "wait": "console:READY", **fields}
        request = parse_request(name=name, **fields)
        return str(self.engine.accept_build(request, queue=True)["id"])

    def start(
        self,
        name: str,
        *,
        max_builds: int = 10,
        hosts: Sequence[str] | None = None,
        sizes: str = "vcpus=1000",
        arguments: Sequence[str] = (),
        home: Path | None = None,
        cold: bool = False,
    ) -> int:
        """Start a conductor of this name; returns its pid.

        It serves `hosts` of the simulated world, each of these sizes; `arguments` are added.
        """
        uri = f"sim://{self.world_path}"
        chosen = self.hosts if hosts is None else hosts
        served = [f"{host}={uri},{sizes}" for host in chosen]
        arguments = [*(w for host in served for w in ("--host", host)), *arguments]
        words = [
            "conductor", "--home", str(home or self.home), "--name", name,
            "--expiry", str(self.expiry_s), "--max-builds", str(max_builds), *arguments,
        ]  # fmt: skip
        log = self.home / f"{name}.log"
        log.touch()
        if self._warm is not None and not cold:
            self.conductors[name] = self._warm.start(words, self.environment, log)
            return self.conductors[name].pid
        with log.open("ab") as file:
            self.conductors[name] = subprocess.Popen(
                [sys.executable, "-m", "buildflow", *words],
                env=self.environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            )  # fmt: skip
        return self.conductors[name].pid

    @property
    def environment(self) -> dict[str, str]:
        """What a process of this fleet is told."""
        told = {"BUILDFLOW_STORE": self.store, "BUILDFLOW_JOBBOARD": self.jobboard}
        return {**os.environ, **told, "BUILDFLOW_HOME": str(self.home)}

    def call(self, *words: str) -> Any:
        """The JSON document of one call of the command line, which must succeed."""
        code, out, err = self.run(*words, "--json")
        assert code == 0, err
        return json.loads(out)

    def run(self, *words: str) -> tuple[int, str, str]:
        """One call of the command line: its exit code, stdout and stderr."""
        if self._warm is not None:
            return self._warm.run(words, self.environment, self.home)
        ran = subprocess.run(
            [sys.executable, "-m", "buildflow", *words],
            env=self.environment, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        return ran.returncode, ran.stdout, ran.stderr

    def await_start(self, *names: str) -> None:
        """Wait until conductors take builds."""
        for name in names:
            self.until(partial(self.says, name, "taking builds"), f"start of {name}", 60)

    def says(self, name: str, words: str) -> bool:
        """Whether a conductor has said this."""
        return words in self.log(name)

    def figures(self, name: str) -> dict[str, float]:
        """What a conductor that was started with --metrics-port tells Prometheus."""
        found = re.search(r"figures on (http://127\.0\.0\.1:\d+/metrics)", self.log(name))
        assert found is not None
        with urllib.request.urlopen(found[1], timeout=5) as page:
            lines = page.read().decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {figure: float(value) for figure, _, value in pairs}

    def kill(self, name: str) -> None:
        """Kill a conductor where it stands."""
        self.conductors[name].kill()
        self.conductors[name].wait()

    def send(self, name: str, number: signal.Signals) -> None:
        """Send a conductor a signal."""
        self.conductors[name].send_signal(number)

    def freeze(self, name: str) -> None:
        """SIGSTOP a conductor, though not while it holds the simulated world's file lock.

        No real hypervisor stands still for everybody because one of its clients does.
        """
        pid = self.conductors[name].pid
        while True:
            self.send(name, signal.SIGSTOP)
            while not _stands_still(pid):
                time.sleep(0.01)
            if not _has_locked(pid, self.world_path):
                return
            self.send(name, signal.SIGCONT)
            time.sleep(0.01)

    def log(self, name: str) -> str:
        """What a conductor said."""
        return (self.home / f"{name}.log").read_text()

    def statuses(self) -> dict[str, str]:
        """Every build's status by id."""
        return {row["id"]: row["status"] for row in self.engine.store.list(limit=None)}

    def faults(self) -> dict[str, Any]:
        """Why those builds have failed that have, by id."""
        rows = [self.engine.show(build) for build, status in self.statuses().items()
                if status != "complete"]  # fmt: skip
        return {row["id"]: row["fault"] for row in rows if row["fault"] is not None}

    def owners(self) -> dict[str, str | None]:
        """Every build's owner by id."""
        return {row["id"]: row["owner"] for row in self.engine.store.list(limit=None)}

    def silence(self, host: str) -> None:
        """Let a host's last offer be so old that it is down, which else takes SILENT_S."""
        long_ago = stamp(self.engine.clock.now() - timedelta(seconds=SILENT_S + 1))
        with self.engine.store.engine.begin() as connection:
            connection.execute(update(hosts).where(hosts.c.name == host).values(seen_at=long_ago))

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 60.0) -> float:
        """Wait for a condition; returns how long it took. AssertionError at the deadline."""
        begun = time.monotonic()
        while not condition():
            if time.monotonic() - begun > seconds:
                logs = "\n".join(f"== {n}\n{self.log(n)[-3000:]}" for n in self.conductors)
                raise AssertionError(f"no {what} within {seconds:g} s\n{logs}")
            time.sleep(0.05)
        return time.monotonic() - begun

    def all_ended(self) -> bool:
        """Whether every build has ended."""
        return all(status in ENDED for status in self.statuses().values())

    def claimed(self, name: str) -> list[str]:
        """The names of the builds that a conductor claimed, from what it said."""
        lines = [
            line for line in self.log(name).splitlines() if line.endswith(f"claimed by {name}")
        ]
        return [line.split(": ")[1] for line in lines]

    def stop(self) -> None:
        """End every conductor that still runs: they are ours."""
        for process in self.conductors.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.conductors.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.board.close()
        self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def assert_each_effect_made_once(fleet: Fleet, builds: Sequence[str]) -> None:
    """By the world's own record: no key created twice, and what is there is what was asked for."""
    operations = fleet.world.operations()
    made = Counter(each.key for each in operations if each.name.startswith("create"))
    assert [key for key, count in made.items() if count > 1] == []
    assert fleet.world.violations == []
    complete = {build for build in builds if fleet.statuses()[build] == "complete"}
    tables = fleet.world.state.tables
    assert {domain["uuid"] for domain in tables["domains"].values()} == complete
    assert len(tables["ports"]) == len(complete)
    claimed = {thing.build for thing in fleet.capacity.inventory()}
    assert claimed == complete


def _stands_still(pid: int) -> bool:
    """Whether each of its threads is stopped: a signal is on its way for a while."""
    stats = [each.read_text() for each in Path(f"/proc/{pid}/task").glob("*/stat")]
    return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)


def _has_locked(pid: int, path: Path) -> bool:
    """Whether a process has a flock on a file; one that waits for it has an arrow in its line."""
    inode = path.stat().st_ino
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return any(
        "->" not in line and line[1] == "FLOCK" and line[4] == str(pid)
        and line[5].rpartition(":")[2] == str(inode)
        for line in lines
    )  # fmt: skip
