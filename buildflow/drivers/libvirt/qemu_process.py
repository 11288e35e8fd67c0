"""QEMU processes of this host, by the uuid of their guest. A zombie counts as gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_ARGUMENT: Final = b"-uuid"


def find(uuid: str) -> list[int]:
    """The processes that run the guest `uuid` now."""
    return [pid for pid, found in all_guests() if found == uuid]


def all_guests() -> Iterator[tuple[int, str]]:
    """(pid, uuid) of every QEMU that libvirt started on this host."""
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # a zombie has no command line, so it is not seen here
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # ended meanwhile
        if b"qemu" in arguments[0] and _ARGUMENT in arguments:
            yield int(entry.name), arguments[arguments.index(_ARGUMENT) + 1].decode()
