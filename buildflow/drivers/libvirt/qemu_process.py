"""QEMU processes of this host, by the uuid of their guest. A zombie counts as gone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_ARGUMENT: Final = b"-uuid"


def find(uuid: str) -> list[int]:
    """The processes that run the guest `uuid` now."""
    return [pid for pid, found in all_guests() if found == uuid]


def all_guests(below: Path | None = None) -> Iterator[tuple[int, str]]:
    """(pid, uuid) of every QEMU that libvirt started on this host; with `below` only of the
    hypervisor that keeps its files there.
    """
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # a zombie has no command line, so it is not seen here
            line = (entry / "cmdline").read_bytes()
        except OSError:
            continue  # ended meanwhile
        arguments = line.split(b"\0")
        if b"qemu" not in arguments[0] or _ARGUMENT not in arguments:
            continue
        # libvirt gives each QEMU a key in a file of the hypervisor's own directory
        if below is None or os.fsencode(below) + b"/lib/qemu/" in line:
            yield int(entry.name), arguments[arguments.index(_ARGUMENT) + 1].decode()
