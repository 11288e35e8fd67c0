"""Adopting QEMU where PID 1 is slow, and leaving everybody else's children alone."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from buildflow.drivers.libvirt.orphans import reaping_time

PROGRAM = """
import os, subprocess, sys, time
from pathlib import Path
from buildflow.drivers.libvirt import orphans
orphans.reaping_time = lambda _patience: 1.0
assert orphans.adopt_if_needed(Path(sys.argv[1]))
assert orphans.adopt_if_needed(Path(sys.argv[1]))

def wait_gone(pid, seconds=3.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.01)
    return False

def orphan(name):
    # a daemon of that name, as libvirt makes them: a session and a parent of its own, which ends
    script = "import os,sys\\nif os.fork(): os._exit(0)\\nos.setsid()\\n" \
             "pid=os.fork()\\nif pid: print(pid,flush=True); os._exit(0)\\n" \
             "open('/proc/self/comm','w').write(sys.argv[1])\\n" \
             "os.close(1); import time; time.sleep(0.3)"
    done = subprocess.run([sys.executable, "-c", script, name], capture_output=True, text=True)
    return int(done.stdout)

assert wait_gone(orphan("qemu-system-x86"))
other = orphan("daemon")
assert not wait_gone(other, 1.0)          # somebody else's orphan is somebody else's affair
assert os.waitpid(other, 0)[0] == other

mine = subprocess.Popen([sys.executable, "-c",
    "open('/proc/self/comm','w').write('qemu-system-x86'); raise SystemExit(7)"])
time.sleep(1.0)
assert mine.wait() == 7                   # a child of ours keeps its exit code for us
print("well")
"""


@pytest.mark.slow
def test_only_qemus_that_were_orphaned_are_buried(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "well\n", done.stderr


def test_a_host_where_no_orphan_can_be_made_is_taken_for_quick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert reaping_time(0.1) == 0.0


def test_patience_has_an_end() -> None:
    begin = time.monotonic()
    assert reaping_time(0.05) <= 0.2
    assert time.monotonic() - begin < 5
