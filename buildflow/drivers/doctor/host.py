"""The host: how fast orphans are reaped, room for guests, bridges."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

import psutil

from buildflow.config import Settings
from buildflow.drivers.doctor.check import OK, CheckResult, bad, ok, warn
from buildflow.drivers.libvirt import uri
from buildflow.drivers.libvirt.orphans import SLOW_S, reaping_time

_PATIENCE_S: Final = 3.0
_MIB: Final = 1 << 20
_SMALLEST_GUEST_MIB: Final = 128
_LITTLE_MEMORY_MIB: Final = 1024
_LITTLE_DISK_MIB: Final = 2048
_DEVICES: Final = Path("/sys/class/net")


def orphans(settings: Settings) -> CheckResult:
    """libvirt waits until a stopped QEMU has left the process table."""
    waited = reaping_time(_PATIENCE_S)
    if waited < SLOW_S:
        return ok("orphans", f"PID 1 reaps an orphan in {waited * 1000:.0f} ms")
    how_long = f"{waited:.1f} s" if waited < _PATIENCE_S else f"more than {_PATIENCE_S:g} s"
    slow = f"PID 1 reaps an orphan in {how_long}, and stopping a guest waits for it"
    cure = "run libvirtd under a process that reaps: `tini -s -- libvirtd`, or systemd as PID 1"
    if uri.parse(settings.libvirt_uri).kind is uri.Kind.EMBED:
        # the cure is told all the same: the next one may connect to a daemon
        return CheckResult("orphans", OK, f"{slow}, except in embedded mode, which reaps by itself",
                           f"for a libvirtd: {cure}")  # fmt: skip
    return warn("orphans", slow, cure)


def memory(settings: Settings) -> CheckResult:
    """For guests."""
    free = psutil.virtual_memory().available // _MIB
    if free < _SMALLEST_GUEST_MIB:
        return bad("memory", f"{free} MiB are free", "stop something, or add memory")
    if free < _LITTLE_MEMORY_MIB:
        return warn("memory", f"{free} MiB are free: enough for small guests only", "add memory")
    return ok("memory", f"{free} MiB are free")


def disk(settings: Settings) -> CheckResult:
    """For disks: the home can be written, and has room."""
    place = settings.home
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK | os.X_OK):
        return bad(
            "disk", f"{place} cannot be written", f"choose another --home than {settings.home}"
        )
    free = shutil.disk_usage(place).free // _MIB
    cure = f"make room, or choose another --home than {settings.home}"
    if free < _SMALLEST_GUEST_MIB:
        return bad("disk", f"{free} MiB are free under {settings.home}", cure)
    if free < _LITTLE_DISK_MIB:
        return warn("disk", f"{free} MiB are free under {settings.home}", cure)
    return ok("disk", f"{free} MiB are free under {settings.home}")


def bridges(settings: Settings) -> CheckResult:
    """What `--network bridge:NAME` can name."""
    found = sorted(d.parent.name for d in _DEVICES.glob("*/bridge"))
    return ok("bridges", f"bridges: {', '.join(found)}" if found else "no bridges; none are needed")
