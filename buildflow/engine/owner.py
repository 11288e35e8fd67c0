"""Who owns a build, and whether that process still lives.

An owner is one process that runs builds. On its own machine it is judged by its pid and start time;
from another machine, by its heartbeat. A fence (the epoch) makes a wrong judgement harmless.
"""

from __future__ import annotations

import functools
import os
import socket
import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from buildflow.engine.clock import Clock, stamp
from buildflow.engine.store import Row


@functools.cache
def boot_id() -> str:
    """The running kernel's boot id: a pid means nothing across a reboot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def pid_started(pid: int) -> str | None:
    """Start time of a process in clock ticks since boot; None when there is no such process."""
    return _own_start() if pid == os.getpid() else _start_of(pid)


@functools.cache
def _own_start() -> str | None:
    return _start_of(os.getpid())


os.register_at_fork(after_in_child=_own_start.cache_clear)


def _start_of(pid: int) -> str | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else fields[19]


def describe_self(clock: Clock, expiry_s: int = 30) -> dict[str, Any]:
    """This process as a row of owners."""
    return {
        "id": str(uuid.uuid4()),
        "host": socket.gethostname(),
        "boot_id": boot_id(),
        "pid": os.getpid(),
        "pid_started": pid_started(os.getpid()) or "",
        "heartbeat_at": stamp(clock.now()),
        "expiry_s": expiry_s,
    }


def lives(owner: Row | None, now: datetime) -> bool:
    """Whether the process behind an owner's row may still be at work."""
    if owner is None:
        return False
    if owner["host"] == socket.gethostname():
        if owner["boot_id"] != boot_id():
            return False
        same: bool = pid_started(owner["pid"]) == owner["pid_started"]
        return same
    beat = datetime.fromisoformat(owner["heartbeat_at"])
    expiry = timedelta(seconds=float(owner["expiry_s"]))
    alive: bool = now - beat < expiry
    return alive
