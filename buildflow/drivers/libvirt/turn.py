"""Whose turn it is at the root of an embedded hypervisor: one process at a time, until it exits.

libvirt locks the root itself, but a process that has failed to get that lock once can never open
the root again ("qemu state driver is not active", libvirt 9). So processes queue on a lock of ours,
and libvirt is called only when nobody can be in the way.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from buildflow.drivers.libvirt.embedded_root import describe_process
from buildflow.errors import HostUnusable, HypervisorBusy

_POLL_S: Final = 0.05
_LOCK: Final = "buildflow.lock"
# struct flock: l_type, l_whence, l_start, l_len, l_pid
_FLOCK: Final = "hhqqi"


def take_turn(root: Path, wait_s: float, say: Callable[[str], None]) -> int:
    """Wait for the root; returns the descriptor that holds it, to be kept open.

    `say` is told once, in one line, for whom we wait. Raises HypervisorBusy after `wait_s`,
    HostUnusable when the lock can't be made.
    """
    try:
        descriptor = os.open(root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HostUnusable(
            f"the embedded hypervisor cannot live in {root}: {error.strerror}"
        ) from error
    try:
        _wait(root, descriptor, time.monotonic() + wait_s, say)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _wait(root: Path, descriptor: int, deadline: float, say: Callable[[str], None]) -> None:
    told = False
    while True:
        holder = _holder(root, descriptor)
        if holder is None:
            return
        if time.monotonic() >= deadline:
            raise HypervisorBusy(
                f"the embedded hypervisor at {root} is in use by {describe_process(holder)};"
                " try again when it has ended, or give this build a --home of its own"
            )
        if not told:
            say(f"waiting for {describe_process(holder)} to let go of {root}")
            told = True
        time.sleep(_POLL_S)


def _holder(root: Path, descriptor: int) -> int | None:
    """The pid of whoever holds the root (0 when it can't be told); None when it is ours now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        return int(text) if text.isdecimal() else 0
    return _foreign_holder(root / "run" / "qemu" / "driver.pid")


def _foreign_holder(pid_file: Path) -> int | None:
    """The pid of a process, not ours and no buildflow, that has the root open; virsh may."""
    try:
        descriptor = os.open(pid_file, os.O_RDWR | os.O_CLOEXEC)
    except OSError:  # nobody was ever here
        return None
    try:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    finally:
        os.close(descriptor)
    return None if kind == fcntl.F_UNLCK else int(pid)
