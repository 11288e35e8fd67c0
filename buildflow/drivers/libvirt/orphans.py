"""Adopts the QEMUs of an embedded hypervisor where nobody else would bury them in time.

libvirt waits until a stopped QEMU has vanished from the process table, and QEMU, being a daemon, is
a child of PID 1. Where that reaps slowly (1.4 s a destroy, not 0.2) or not at all (a container
whose PID 1 is an application), this process becomes a child subreaper, so that QEMU's remains come
to us, and a thread removes them. Everybody else's children are left alone.

Becoming a subreaper is a property of the whole process: it is done only for an embedded hypervisor,
and only after an orphan was seen to wait.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Final

from buildflow.drivers.host_memory import HostMemory, boot_id

SLOW_S: Final = 0.1
_PATIENCE_S: Final = 0.25
_FACT: Final = "orphans"
_PR_SET_CHILD_SUBREAPER: Final = 36
_QEMU: Final = "qemu-system"
_IDLE_S: Final = 0.05
_BUSY_S: Final = 0.01

_lock = threading.Lock()
_adopting = False


def adopt_if_needed(home: Path) -> bool:
    """Become a subreaper when orphans wait long on this host; whether we are one now.

    What was found is kept in `home` until the host boots again.
    """
    global _adopting
    with _lock:
        if _adopting:
            return True
        memory, conditions = HostMemory(home), {"boot": boot_id()}
        waits = memory.recall(_FACT, conditions)
        if waits is None:
            waits = reaping_time(_PATIENCE_S)
            memory.keep(_FACT, conditions, waits)
        if float(waits) < SLOW_S:
            return False
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
            return False  # a kernel without it: slow, and right all the same
        threading.Thread(target=_bury, name="qemu-reaper", daemon=True).start()
        _adopting = True
        return True


def reaping_time(patience_s: float) -> float:
    """Seconds until an orphan of ours was reaped, at most `patience_s`; 0 if none can be made."""
    # the shell ends at once, and its child, now an orphan, a moment later
    try:
        started = subprocess.run(
            ["sh", "-c", "sleep 0.01 >/dev/null 2>&1 & echo $!"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return 0.0
    pid = int(started.stdout)
    end = time.monotonic() + 1 + patience_s
    died = None
    while time.monotonic() < end:
        state = _stat(pid)
        if state is None:
            break
        if state[0] == "Z":
            died = died or time.monotonic()
            if time.monotonic() - died >= patience_s:
                break
        time.sleep(0.002)
    return 0.0 if died is None else time.monotonic() - died


def _bury() -> None:
    session = str(os.getsid(0))
    while True:
        try:
            # WNOWAIT: only look, for the child may be somebody else's to wait for
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:
            time.sleep(_IDLE_S)
            continue
        for pid in _children():
            state = _stat(pid)
            if state is not None and state[0] == "Z" and _is_adopted_qemu(pid, state, session):
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
        time.sleep(_BUSY_S)


def _children() -> list[int]:
    found: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            found += map(int, (task / "children").read_text().split())
    return found


def _is_adopted_qemu(pid: int, state: list[str], session: str) -> bool:
    # libvirt gives every QEMU a session of its own; a child of somebody in this process has ours
    try:
        name = Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return False
    return name.startswith(_QEMU) and state[3] != session


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on, None when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
