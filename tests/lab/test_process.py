"""A server process is found again only as itself, and does not outlive what started it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.lab.directories import REPOSITORY
from tests.lab.ports import answers, free_block, free_port
from tests.lab.process import LabError, ProcessId, Server


def test_a_server_is_stopped_and_killed(tmp_path: Path) -> None:
    server = Server("sleeper", ["sleep", "600"], tmp_path / "log")
    server.start()
    first = server.pid
    with pytest.raises(LabError, match="running already"):
        server.start()
    server.kill9()
    assert not server.alive
    server.start()
    assert server.pid != first
    server.stop()
    server.stop()
    with pytest.raises(LabError, match="not running"):
        _ = server.pid


def test_one_that_ends_at_its_start_is_reported_with_its_last_words(tmp_path: Path) -> None:
    server = Server("failing", ["sh", "-c", "echo no such luck; exit 3"], tmp_path / "log")
    server.start()
    with pytest.raises(LabError, match="no such luck"):
        server.wait_until(lambda: False, timeout=10)


def test_one_that_stays_silent_is_given_up(tmp_path: Path) -> None:
    server = Server("silent", ["sleep", "600"], tmp_path / "log")
    server.start()
    with pytest.raises(LabError, match="silent"):
        server.wait_until(lambda: False, timeout=0.1)
    server.stop()


def test_one_that_ignores_its_signal_is_killed(tmp_path: Path) -> None:
    deaf = ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.1; done"]
    server = Server("deaf", deaf, tmp_path / "log")
    server.start()
    server.wait_until(lambda: "deaf" in server.last_lines())
    server.stop(timeout=0.2)
    assert not server.alive


def test_a_pid_that_was_given_to_another_process_is_not_mistaken() -> None:
    ourselves = ProcessId.of(os.getpid())
    assert ourselves.alive
    assert not ProcessId(ourselves.pid, ourselves.started - 1).alive


@pytest.mark.parametrize("lasting", [False, True])
def test_servers_die_with_their_owner_unless_they_shall_last(tmp_path: Path, lasting: bool) -> None:
    program = (
        "import sys, time; from pathlib import Path; from tests.lab.process import Server;"
        f"s = Server('s', ['sleep', '600'], Path(sys.argv[1]), lasting={lasting});"
        "s.start(); print(s.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "log")],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    ) as owner:
        assert owner.stdout is not None
        server = ProcessId.of(int(owner.stdout.readline()))
        assert server.alive
        owner.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 5
    while server.alive and not lasting and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.alive is lasting
    server.signal(signal.SIGKILL)


def test_free_ports_are_free() -> None:
    assert not answers(free_port())
    first = free_block(20)
    assert not any(answers(first + offset) for offset in range(20))
