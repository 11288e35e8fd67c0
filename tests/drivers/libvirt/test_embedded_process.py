"""An embedded hypervisor lives in one process at a time: it is waited for, killed, found again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.drivers.libvirt.guests import command_line
from tests.drivers.libvirt.one_life import UUID
from tests.lab.directories import open_directory
from tests.lab.guest import GuestImages

pytestmark = [pytest.mark.libvirt]

PROGRAM = [sys.executable, "-m", "tests.drivers.libvirt.one_life"]
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def home() -> Iterator[Path]:
    with open_directory("bf-home-") as home:
        yield home
        assert command_line(UUID) == b""


def live(
    home: Path, images: GuestImages, *steps: str, **environment: str
) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, what was said on stdout, and stderr, of one life."""
    done = subprocess.run(
        [*PROGRAM, str(home), str(images.qcow2), *steps],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_a_killed_process_leaves_its_guest_which_the_next_one_finds_and_removes(
    home: Path, guest_images: GuestImages
) -> None:
    code, said, _ = live(home, guest_images, "make", "start", "crash")
    assert code == -9, said
    assert command_line(UUID)
    code, said, stderr = live(home, guest_images, "find", "boot", "remove")
    assert code == 0, said
    assert [fact.get("active") for fact in said] == [True, None, None]
    assert said[1]["uuid"]
    assert said[2]["left"] == []
    assert stderr == ""


def test_nothing_is_said_on_stderr(home: Path, guest_images: GuestImages) -> None:
    code, said, stderr = live(home, guest_images, "open", "make", "find", "start", "remove")
    assert (code, stderr) == (0, ""), said


@pytest.fixture
def holder(home: Path, guest_images: GuestImages) -> Iterator["subprocess.Popen[str]"]:
    """A process that holds the hypervisor of `home` until its stdin is closed."""
    process = subprocess.Popen(
        [*PROGRAM, str(home), str(guest_images.qcow2), "open", "wait"],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while json.loads(process.stdout.readline())["step"] != "wait":
        pass
    yield process
    process.communicate()


def test_another_process_waits_with_a_message_and_then_says_who_it_was(
    home: Path, guest_images: GuestImages, holder: "subprocess.Popen[str]"
) -> None:
    begin = time.monotonic()
    code, said, _ = live(home, guest_images, "open", WAIT_S="1")
    assert 1 <= time.monotonic() - begin < 10
    assert code == 4
    assert [list(fact) for fact in said] == [["told"], ["error", "exit_code", "text"]]
    assert f"process {holder.pid}" in said[0]["told"]
    assert said[1]["error"] == "HypervisorBusy"
    assert f"process {holder.pid}" in said[1]["text"]


def test_it_goes_on_as_soon_as_the_other_has_ended(
    home: Path, guest_images: GuestImages, holder: "subprocess.Popen[str]"
) -> None:
    waiting = subprocess.Popen(
        [*PROGRAM, str(home), str(guest_images.qcow2), "open"],
        cwd=REPOSITORY,
        env={**os.environ, "WAIT_S": "60"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert waiting.stdout is not None
    assert "told" in json.loads(waiting.stdout.readline())
    assert holder.stdin is not None
    holder.stdin.close()
    holder.stdin = None
    out, _ = waiting.communicate(timeout=20)
    assert json.loads(out)["step"] == "open"
    assert waiting.returncode == 0


def test_one_process_cannot_have_two_and_is_told_so(home: Path, guest_images: GuestImages) -> None:
    program = (
        "import sys; from pathlib import Path; from buildflow.config import Settings;"
        "from buildflow.drivers.registry import open_driver;"
        "open_driver('compute', Settings(home=Path(sys.argv[1], 'a'))).check();"
        "open_driver('compute', Settings(home=Path(sys.argv[1], 'b'))).check()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(home)], capture_output=True, text=True, check=False
    )
    assert "HostUnusable: this process already runs an embedded hypervisor" in done.stderr


def test_a_home_with_a_long_and_odd_path_works(home: Path, guest_images: GuestImages) -> None:
    long = home / ("a long, odd+name;" * 6) / "hö=me"
    code, said, stderr = live(long, guest_images, "make", "start", "boot", "remove")
    assert code == 0, (said, stderr)
    assert said[-1]["left"] == []


@pytest.mark.root
def test_an_ordinary_user_without_any_privilege_builds_a_machine(
    home: Path, guest_images: GuestImages
) -> None:
    code, said, stderr = live(
        home, guest_images, "--user", "nobody", "open", "make", "start", "boot", "remove"
    )
    assert code == 0, (said, stderr)
    assert {fact["uid"] for fact in said} == {65534}
    assert said[3]["ip"]
    assert said[4]["left"] == []


@pytest.mark.root
def test_an_ordinary_user_with_a_daemon_of_its_own(home: Path, guest_images: GuestImages) -> None:
    try:
        code, said, stderr = live(
            home, guest_images, "--user", "nobody", "open", "make", "start", "boot", "remove",
            CONNECT="qemu:///session",
        )  # fmt: skip
        assert code == 0, (said, stderr)
        assert said[3]["ip"]
        assert said[4]["left"] == []
    finally:
        for name in ("libvirtd", "virtlogd"):  # started by libvirt itself, for this user only
            for file in home.rglob(f"{name}.pid"):
                os.kill(int(file.read_text()), signal.SIGTERM)


@pytest.mark.root
def test_somebody_elses_home_is_refused(home: Path, guest_images: GuestImages) -> None:
    live(home, guest_images, "open")
    other = home / "instances"
    assert not other.exists() or other.stat().st_uid == 0
    program = (
        "import os, sys; from pathlib import Path; from buildflow.config import Settings;"
        "from buildflow.drivers.libvirt import embedded_root, orphans, short_path;"
        "from buildflow.errors import HostUnusable;"
        "os.setgid(65534); os.setuid(65534)\n"
        "try: embedded_root.prepare(Path(sys.argv[1], 'embed'))\n"
        "except HostUnusable as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(home)], capture_output=True, text=True, check=False
    )
    assert "belongs to another user" in done.stdout, done.stderr
