"""How much conductors build: builds a second in the simulated world, and what a long board costs.

    python bench/scale.py [--builds N] [--conductors 1,2,4] [--jobs 100,1000,10000]
                          [--board redis|etcd|zookeeper] [--quick-disk] [--json]

Starts a PostgreSQL that is as durable as in earnest (with --quick-disk it does not wait for the
disk, so that processors alone decide), a jobboard, and conductors as processes of
their own, all on this machine; each build has every step of a real one, with a hypervisor that
takes no time. CPU is what the processes themselves say that they used. The embedded runner carries
the same builds out on the same store and world in one process: the difference is what distributing
a build costs.
"""

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from buildflow.api import VmEngine
from buildflow.config import Settings
from buildflow.distributed.board import Board
from buildflow.distributed.jobs import Jobs
from buildflow.drivers.simulated.factory import drivers_of
from buildflow.flows.request import parse_request
from tests.distributed.conftest import BOARDS, url_of
from tests.distributed.crowd import copy_build, post_all
from tests.distributed.fleet import Fleet
from tests.lab.directories import open_directory
from tests.lab.services import PostgreSQL, Service

AT_ONCE = 10


def cpu(*pids: int) -> float:
    """Seconds of CPU that these processes and their children have used so far."""
    used = 0.0
    for pid in pids:
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            times = each.cpu_times()
            used += times.user + times.system
        # children that have ended and were waited for
        used += process.cpu_times().children_user + process.cpu_times().children_system
    return used


class Servers:
    """The store and the board, for as long as the measurement takes."""

    def __init__(self, directory: Path, kind: str, *, fsync: bool) -> None:
        self.kind = kind
        self.store = PostgreSQL(directory / "postgresql", fsync=fsync)
        self.board: Service = BOARDS[kind](directory / kind)

    @contextmanager
    def running(self) -> Iterator["Servers"]:
        with self.store, self.board:
            yield self

    @property
    def board_url(self) -> str:
        return url_of(self.kind, self.board)


def distributed(servers: Servers, conductors: int, builds: int) -> dict[str, float]:
    """Builds a second with so many conductors, and the CPU of everybody, in ms a build."""
    with tempfile.TemporaryDirectory() as home:
        store = servers.store.new_database()
        with Fleet(Path(home), store, servers.board_url, expiry_s=30.0) as fleet:
            names = [f"c{i}" for i in range(conductors)]
            pids = [fleet.start(name, max_builds=AT_ONCE) for name in names]
            fleet.await_start(*names)
            fleet.until(lambda: len(fleet.capacity.listed()) == len(fleet.hosts), "hosts", 60)
            time.sleep(1.0)
            for name in names:  # all begin at one moment, with every job on the board
                fleet.send(name, signal.SIGSTOP)
            for i in range(builds):
                fleet.submit(f"vm{i}", memory_mib=1)
            mine = cpu(*pids), cpu(servers.store.pid), cpu(servers.board.pid)
            begun = time.perf_counter()
            for name in names:
                fleet.send(name, signal.SIGCONT)
            while fleet.jobs.count():
                time.sleep(0.1)
            seconds = time.perf_counter() - begun
            used = cpu(*pids), cpu(servers.store.pid), cpu(servers.board.pid)
            statuses = set(fleet.statuses().values())
            if statuses != {"complete"}:
                raise SystemExit(f"not all builds are complete: {statuses}")
    each = [1e3 * (after - before) / builds for before, after in zip(mine, used, strict=True)]
    return {
        "builds_a_second": builds / seconds,
        "conductors_cpu_ms": each[0],
        "store_cpu_ms": each[1],
        "board_cpu_ms": each[2],
    }


def embedded(servers: Servers, builds: int) -> dict[str, float]:
    """The same by one engine in this process."""
    with tempfile.TemporaryDirectory() as home:
        fleet = Fleet(Path(home), servers.store.new_database(), servers.board_url)
        settings = Settings(
            home=Path(home), store=fleet.store, max_concurrent_builds=AT_ONCE
        )  # fmt: skip
        with fleet, VmEngine(settings, drivers_of(fleet.world, *fleet.hosts)) as engine:
            rows = [fleet.submit_nowhere(f"vm{i}", memory_mib=1) for i in range(builds)]
            before = time.process_time(), cpu(servers.store.pid)
            begun = time.perf_counter()
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(engine.carry_out, rows))
            seconds = time.perf_counter() - begun
            after = time.process_time(), cpu(servers.store.pid)
    each = [1e3 * (b - a) / builds for a, b in zip(before, after, strict=True)]
    return {
        "builds_a_second": builds / seconds, "conductors_cpu_ms": each[0], "store_cpu_ms": each[1],
        "board_cpu_ms": 0.0,
    }  # fmt: skip


def curve(servers: Servers, sizes: list[int], sample: int = 100) -> dict[int, dict[str, float]]:
    """Milliseconds to submit, claim and list when so many jobs are on the board."""
    found: dict[int, dict[str, float]] = {}
    with (
        tempfile.TemporaryDirectory() as home,
        VmEngine(Settings(home=Path(home), store=servers.store.new_database())) as engine,
    ):
        board = Board(servers.board_url, "bench", expiry_s=30.0)
        jobs = Jobs(engine.store, engine.clock)
        posted = 0

        def submit() -> None:
            nonlocal posted
            posted += 1
            request = parse_request(name=f"vm{posted}", image="x")
            build = engine.accept_build(request, queue=True)["id"]
            jobs.post(build)
            board.post(build)

        def claim() -> None:
            posting = board.next()
            assert posting is not None
            assert jobs.glance(posting.build) is not None
            assert board.claim(posting)
            held.append(posting)

        submit()
        (first,) = board.posted()
        for size in sizes:
            ids = copy_build(engine.store, first, size - jobs.count())
            post_all(board, ids)
            time.sleep(1.5)
            reading = _ms(lambda: board.posted(), 3)
            board._read_at = float("-inf")
            board.next()
            board._read_at = float("inf")  # the reading is measured apart
            held: list[Any] = []
            found[size] = {
                "submit_ms": _ms(submit, sample),
                "claim_ms": _ms(claim, sample - 10),
                "list_ms": _ms(lambda: engine.list(), 10),
                "jobs_ms": _ms(lambda: jobs.listed(), 10),
                "read_board_ms": reading,
            }
            for posting in held:
                board.abandon(posting)
        board.close()
    return found


def _ms(act: Callable[[], Any], times: int) -> float:
    """Milliseconds of one call, by so many."""
    begun = time.perf_counter()
    for _ in range(times):
        act()
    return 1e3 * (time.perf_counter() - begun) / times


def report(found: dict[str, Any]) -> None:
    print(f"{'':14}{'builds/s':>10}{'CPU ms a build:':>18}{'builders':>10}{'store':>8}{'board':>8}")
    for name, row in found["builds"].items():
        print(
            f"{name:14}{row['builds_a_second']:>10.1f}{'':18}{row['conductors_cpu_ms']:>10.1f}"
            f"{row['store_cpu_ms']:>8.1f}{row['board_cpu_ms']:>8.1f}"
        )
    print(f"distributing a build costs {found['overhead_cpu_ms']:.1f} ms of CPU")
    if found["curve"]:
        names = next(iter(found["curve"].values()))
        print(f"\n{'jobs':>8}" + "".join(f"{name:>16}" for name in names))
        for size, row in found["curve"].items():
            print(f"{size:>8}" + "".join(f"{value:>16.2f}" for value in row.values()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--builds", type=int, default=200)
    parser.add_argument("--conductors", default="1,2,4")
    parser.add_argument("--jobs", default="100,1000,10000")
    parser.add_argument("--board", choices=sorted(BOARDS), default="redis")
    parser.add_argument("--quick-disk", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with (
        open_directory() as directory,
        Servers(directory, options.board, fsync=not options.quick_disk).running() as servers,
    ):
        builds = {"embedded": embedded(servers, options.builds)}
        for count in map(int, filter(None, options.conductors.split(","))):
            builds[f"{count} conductors"] = distributed(servers, count, options.builds)
        lengths = curve(servers, [int(n) for n in options.jobs.split(",") if n])
    first = next((row for name, row in builds.items() if name != "embedded"), builds["embedded"])

    def all_cpu(row: dict[str, float]) -> float:
        return row["conductors_cpu_ms"] + row["store_cpu_ms"] + row["board_cpu_ms"]

    found = {
        "board": options.board,
        "builds": builds,
        "overhead_cpu_ms": all_cpu(first) - all_cpu(builds["embedded"]),
        "curve": lengths,
    }
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        report(found)


if __name__ == "__main__":
    main()
