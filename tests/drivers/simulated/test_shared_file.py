"""A world in a file: shared by processes, and whole after any of them is killed at any instant."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from buildflow.drivers.protocols import PortRequest
from buildflow.drivers.simulated import SimulatedWorld, WorldOptions, drivers_of
from buildflow.errors import Conflict, HostUnusable
from tests.drivers.simulated.one_build import OneBuild


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "world.jsonl"


def in_child(work: Callable[[], None]) -> int:
    """Run `work` in a forked process; returns its pid. It ends with 0 unless `work` raises."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return pid


def ended_well(pid: int) -> bool:
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) == 0


def test_what_one_process_makes_the_others_see(path: Path) -> None:
    world = SimulatedWorld(path)
    build = OneBuild(drivers_of(world), "u-1", [world.add_volume()])

    def look_and_go_on() -> None:
        compute = drivers_of(SimulatedWorld(path)).on("sim1")
        assert compute.find_domain("u-1") is None
        build.make()

    assert ended_well(in_child(look_and_go_on))
    assert build.compute.find_domain("u-1").active
    assert SimulatedWorld(path).digest() == world.digest()
    assert [o.name for o in world.operations()][-1] == "delete_secret"


def test_a_world_that_is_there_keeps_its_options_and_its_content(path: Path) -> None:
    first = SimulatedWorld(path, options=WorldOptions(boot_seconds=7))
    network = first.add_network("lab", "10.9.0.0/24")
    again = SimulatedWorld(path, options=WorldOptions(boot_seconds=1))
    assert again.options == first.options
    assert (
        drivers_of(again).network.create_port("k", "i", "h", PortRequest("lab"))["network"]["id"]
        == network
    )
    again.configure(boot_seconds=3)
    drivers_of(first).on("sim1").find_domain("none")
    assert first.options.boot_seconds == 3


@pytest.mark.parametrize("api", ["attachments", "legacy"])
def test_of_processes_that_race_for_a_volume_exactly_one_wins(path: Path, api: str) -> None:
    world = SimulatedWorld(path)
    volumes = [world.add_volume() for _ in range(20)]
    start = time.monotonic() + 0.05

    def race(number: int) -> None:
        service = drivers_of(world, volume_api=api).volume
        while time.monotonic() < start:
            pass
        for volume in volumes:
            with contextlib.suppress(Conflict):
                service.reserve(f"{number}-{volume}", volume, f"instance-{number}")

    children = [in_child(lambda n=n: race(n)) for n in range(4)]  # type: ignore[misc]
    ends = [ended_well(pid) for pid in children]  # each is waited for, whatever the others did
    assert all(ends)
    rows = [world.snapshot()["volumes"][volume]["attachments"] for volume in volumes]
    assert [len(row) for row in rows] == [1] * 20
    assert [o.name for o in world.operations()] == ["reserve_volume"] * 20


def test_threads_and_processes_at_once_lose_nothing(path: Path) -> None:
    world = SimulatedWorld(path)

    def builds(name: str) -> None:
        drivers = drivers_of(world)

        def one(number: int) -> None:
            build = OneBuild(
                drivers,
                f"{name}-{number}",
                [
                    drivers.on("sim1").world.add_volume(  # type: ignore[attr-defined]
                        id=f"volume-{name}-{number}"
                    )
                ],
            )
            build.make()
            build.unmake()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(one, range(8)))

    children = [in_child(lambda n=n: builds(f"child{n}")) for n in range(3)]  # type: ignore[misc]
    builds("parent")
    ends = [ended_well(pid) for pid in children]  # each is waited for, whatever the others did
    assert all(ends)
    assert world.violations == []
    assert world.snapshot()["hosts"] == {}
    assert sum(o.name == "start_domain" for o in world.operations()) == 32
    assert SimulatedWorld(path).operations() == world.operations()


def test_a_process_killed_at_any_instant_leaves_a_whole_world(path: Path) -> None:
    """Each change is there or not; what the dead process had made is found by whoever comes."""
    world = SimulatedWorld(path)

    def endless() -> None:
        drivers, number = drivers_of(world), 0
        while True:
            number += 1
            build = OneBuild(drivers, f"{os.getpid()}-{number}", [world.add_volume()])
            build.make()
            build.unmake()

    for turn in range(12):
        before = len(world.operations())
        pid = in_child(endless)
        while len(world.operations()) < before + 3:
            time.sleep(0.0005)
        time.sleep(0.0007 * turn)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        fresh = SimulatedWorld(path)
        assert fresh.digest() == world.digest()
        drivers_of(fresh).on("sim1").create_directory(f"after-{turn}")  # the lock is free
    assert len(world.operations()) > 36 + 12
    assert world.violations == []
    assert SimulatedWorld(path).digest() == world.digest()


def test_a_torn_last_line_never_was(path: Path) -> None:
    world = SimulatedWorld(path)
    compute = drivers_of(world).on("sim1")
    compute.create_directory("one")
    whole = path.read_bytes()
    digest = world.digest()
    compute.create_directory("two")
    line = path.read_bytes()[len(whole) :]
    world.close()
    for length in range(len(line)):
        path.write_bytes(whole + line[:length])
        reader, writer = SimulatedWorld(path), SimulatedWorld(path)
        assert reader.digest() == digest
        drivers_of(writer).on("sim1").create_directory("three")
        assert drivers_of(reader).on("sim1").find_directory("three")
        assert drivers_of(reader).on("sim1").find_directory("two") is None
        assert all(json.loads(each) for each in path.read_bytes().splitlines())


def test_a_world_that_died_while_it_was_made_is_made_again(path: Path) -> None:
    SimulatedWorld(path)
    whole = path.read_bytes()
    for length in (0, 1, 20, whole.index(b"\n"), whole.index(b"\n") + 1, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert drivers_of(SimulatedWorld(path)).image.validate("cirros")
        assert path.read_bytes().startswith(b'["buildflow simulated world",1]\n')


def test_a_child_forked_in_the_middle_of_a_change_is_free_to_go_on(path: Path) -> None:
    world = SimulatedWorld(path)
    compute = drivers_of(world).on("sim1")
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with world.change("create_directory", "held") as change:
            change.put("directories", "sim1/held", {"host": "sim1", "key": "held", "path": "/p"})
            held.set()
            done.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)

    def work() -> None:
        compute.create_directory("mine")  # waits for the parent's lock on the file, not for ever
        assert compute.find_directory("held") is not None

    pid = in_child(work)
    time.sleep(0.05)
    assert os.waitpid(pid, os.WNOHANG) == (0, 0), "the child got past a lock that is held"
    done.set()
    thread.join()
    assert ended_well(pid)
    assert compute.find_directory("mine")


def test_a_child_of_a_world_in_memory_has_its_own(tmp_path: Path) -> None:
    world = SimulatedWorld()
    compute = drivers_of(world).on("sim1")
    compute.create_directory("before")

    def work() -> None:
        assert compute.find_directory("before")
        compute.create_directory("child's")

    assert ended_well(in_child(work))
    assert compute.find_directory("child's") is None


def test_a_change_that_fails_leaves_nothing(path: Path) -> None:
    world = SimulatedWorld(path)
    before = path.read_bytes()

    def fail() -> None:
        with world.change("create_directory", "x") as change:
            change.put("directories", "sim1/x", {"host": "sim1", "key": "x", "path": "/x"})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_bytes() == before
    assert world.snapshot()["hosts"] == {}


@pytest.mark.parametrize("content", [b"hello\n", b'{"a": 1}\n', b"\n", b"no end"])
def test_another_file_is_not_taken_for_a_world(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(HostUnusable, match="not a simulated world"):
        SimulatedWorld(path)
    assert path.read_bytes() == content


def test_a_damaged_one_is_said_to_be(path: Path) -> None:
    SimulatedWorld(path)
    path.write_bytes(path.read_bytes() + b'["half a li\n')
    with pytest.raises(HostUnusable, match="damaged"):
        SimulatedWorld(path)


def test_one_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(HostUnusable, match="cannot open"):
        SimulatedWorld(tmp_path)


def test_a_world_that_is_dropped_lets_go_of_its_file(path: Path) -> None:
    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        drivers_of(SimulatedWorld(path)).on("sim1").find_directory("key")
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


def test_it_is_opened_again_when_it_is_used_after_close(path: Path) -> None:
    world = SimulatedWorld(path)
    compute = drivers_of(world).on("sim1")
    compute.create_directory("key")
    world.close()
    assert compute.find_directory("key")
