"""What durability costs: eight steps that do nothing, against engines that keep less, or as much.

    python bench/durable.py [--json] [--rounds N] [--only flows|cpu|scale|memory]

Contenders run in processes of their own and take turns, round by round, so that a busy machine is
as busy for each of them. A ratio is the median of the rounds' ratios, a rate the median of the
rounds' rates. The peers are installed once from bench/requirements.txt into .cache/bench/peers.
Figures of one machine at one time: trust the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
PEERS = ROOT / ".cache" / "bench" / "peers"

# flows in one turn, so that a turn of each takes about as long
TURN = {"ours": 60, "taskflow_memory": 40, "taskflow_sqlite": 2, "dbos_sqlite": 10, "floor": 600}
COMMITS_A_FLOW = 10  # accepted, eight steps, complete
TARGETS = {
    "ratio_to_taskflow_memory": 1.0,
    "ratio_to_taskflow_sqlite": 40.0,
    "ratio_to_dbos_sqlite": 4.0,
}


class Contender:
    """A process that runs flows when asked."""

    def __init__(self, name: str, python: Path, folder: Path) -> None:
        self.name = name
        folder.mkdir()
        self._process = subprocess.Popen(
            [str(python), str(HERE / "contenders.py"), name, str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def ready(self) -> None:
        """Wait until it has started."""
        if self._line() != "ready":
            raise RuntimeError(f"{self.name} did not start")

    def rate(self) -> float:
        """One turn; flows a second."""
        count = TURN[self.name]
        assert self._process.stdin is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        return count / float(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def peers_python() -> Path:
    """An interpreter that has the peers, in the versions of bench/requirements.txt."""
    python = PEERS / "bin" / "python"
    wanted = (HERE / "requirements.txt").read_text()
    stamp = PEERS / "requirements.txt"
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(PEERS, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
        subprocess.run(
            [str(python), "-m", "pip", "install", "-q", "-r", str(HERE / "requirements.txt")],
            check=True, stdout=sys.stderr,
        )  # fmt: skip
        stamp.write_text(wanted)
    return python


def flows(rounds: int, folder: Path) -> dict[str, Any]:
    """Flows a second of each contender, and our ratio to it."""
    peers = peers_python()
    contenders = [
        Contender(name, Path(sys.executable) if name == "ours" else peers, folder / name)
        for name in TURN
    ]
    try:
        for each in contenders:
            each.ready()
        rates: dict[str, list[float]] = {name: [] for name in TURN}
        for number in range(rounds + 1):
            for each in contenders:
                rate = each.rate()
                if number:  # the first round warms everything up
                    rates[each.name].append(rate)
    finally:
        for each in contenders:
            each.close()

    def ratio(name: str, factor: float = 1.0) -> float:
        pairs = zip(rates["ours"], rates[name], strict=True)
        return round(median(factor * mine / theirs for mine, theirs in pairs), 3)

    return {
        "flows_per_second": {
            name: round(median(found), 2) for name, found in rates.items() if name != "floor"
        },
        "floor_commits_per_second": round(median(rates["floor"]), 1),
        "ratio_to_taskflow_memory": ratio("taskflow_memory"),
        "ratio_to_taskflow_sqlite": ratio("taskflow_sqlite"),
        "ratio_to_dbos_sqlite": ratio("dbos_sqlite"),
        "share_of_floor": ratio("floor", COMMITS_A_FLOW),
        "rounds": rounds,
    }


def cpu(rounds: int, folder: Path) -> dict[str, Any]:
    """Milliseconds of CPU of one build with one NIC and one volume in the simulated world."""
    from buildflow.api import VmEngine
    from buildflow.config import Settings
    from buildflow.drivers.simulated import SimulatedWorld, drivers_of

    batch = 20
    found = []
    with VmEngine(Settings(home=folder, boot_grace_s=0.0), drivers_of(SimulatedWorld())) as engine:
        for number in range(rounds + 1):
            began = time.process_time()
            for index in range(batch):
                shown = engine.build(
                    name=f"vm-{number}-{index}", image="cirros", volumes=[{"size": 1}]
                ).wait()
                assert shown["status"] == "complete", shown
            if number:
                found.append((time.process_time() - began) / batch * 1000)
    return {"build_cpu_ms": round(median(found), 1)}


def scale(rounds: int, folder: Path) -> dict[str, Any]:
    """Start-up, list and show with 100,000 builds against 100; milliseconds, and the ratio."""
    from buildflow.config import Settings
    from buildflow.engine.core import Engine

    found: dict[str, dict[int, float]] = {"start_up": {}, "list": {}, "show": {}}
    homes = {}
    for count in (100, 100_000):
        home = homes[count] = folder / str(count)
        home.mkdir()
        _fill(home, count)
    times: dict[tuple[str, int], list[float]] = {}
    for number in range(rounds + 1):
        for count, home in homes.items():
            began = time.perf_counter()
            engine = Engine(Settings(home=home))
            handles = engine.resume()
            opened = time.perf_counter()
            rows = engine.list()
            listed = time.perf_counter()
            engine.show(rows[50]["id"])
            engine.show(rows[50]["name"])
            shown = time.perf_counter()
            assert not handles
            assert len(rows) == 100
            engine.close()
            if number:
                for name, value in (
                    ("start_up", opened - began), ("list", listed - opened),
                    ("show", shown - listed),
                ):  # fmt: skip
                    times.setdefault((name, count), []).append(value * 1000)
    for (name, count), values in times.items():
        found[name][count] = round(median(values), 3)
    return {
        name: {
            "ms_with_100": each[100],
            "ms_with_100000": each[100_000],
            "ratio": round(each[100_000] / each[100], 2),
        }
        for name, each in found.items()
    }


def _fill(home: Path, count: int) -> None:
    """Complete builds as the engine leaves them: one real one, copied under other ids."""
    from bench.noops import eight
    from buildflow.config import Settings
    from buildflow.engine.core import Engine

    with Engine(Settings(home=home)) as engine:
        first = engine.run(eight, name="b-0").wait()["id"]
    import sqlite3

    connection = sqlite3.connect(home / "buildflow.sqlite", isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    connection.row_factory = sqlite3.Row
    templates = {
        "builds": connection.execute("SELECT * FROM builds WHERE id = ?", (first,)).fetchall(),
        "flow_details": connection.execute("SELECT * FROM flow_details").fetchall(),
        "atoms": connection.execute("SELECT * FROM atoms").fetchall(),
    }
    connection.execute("BEGIN")
    for number in range(1, count):
        new, flow = str(uuid.uuid4()), str(uuid.uuid4())
        for table, rows in templates.items():
            for row in rows:
                values = dict(row)
                if table == "builds":
                    name = f"b-{number}"
                    at = f"2026-01-{1 + number % 28:02}T00:00:00.{number:06}Z"
                    values.update(id=new, name=name, live_name=name, created_at=at)
                elif table == "flow_details":
                    values.update(uuid=flow, build=new)
                else:
                    values.update(flow=flow)
                marks = ", ".join("?" * len(values))
                names = ", ".join(values)
                connection.execute(
                    f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values())
                )
    connection.execute("COMMIT")
    connection.close()


def memory(rounds: int, folder: Path) -> dict[str, Any]:
    """Peak memory of a process with 1,000 builds in flight, all waiting for their guests."""
    program = [sys.executable, str(HERE / "in_flight.py"), str(folder), "1000"]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


PARTS = {"flows": flows, "cpu": cpu, "scale": scale, "memory": memory}


def main() -> int:
    """See the module."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Raw)
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--rounds", type=int, default=7, help="at least 5 for a figure")
    parser.add_argument("--only", choices=tuple(PARTS), help="one part of it")
    given = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    result: dict[str, Any] = {}
    for name, part in PARTS.items():
        if given.only in (None, name):
            with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT / ".cache") as folder:
                result.update(part(given.rounds, Path(folder)))
    result["machine"] = {
        "cpus": os.cpu_count(), "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }  # fmt: skip
    if given.json:
        print(json.dumps(result, indent=2))
    else:
        for name, value in result.items():
            target = f"  (at least {TARGETS[name]:g})" if name in TARGETS else ""
            print(f"{name:28} {value}{target}")
    return 0


class _Raw(argparse.RawDescriptionHelpFormatter):
    """The module's text as it stands."""


if __name__ == "__main__":
    sys.exit(main())
