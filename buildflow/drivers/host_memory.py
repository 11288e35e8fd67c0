"""What was found out about this host at some cost, kept until it may have changed.

A fact is a JSON file under HOME/host with the conditions that it holds for (the boot, a program's
version); a fact found under other conditions is none.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")

Conditions = dict[str, Any]


class HostMemory:
    """The facts kept under one home."""

    def __init__(self, home: Path) -> None:
        self._directory = home / "host"

    def recall(self, name: str, conditions: Conditions) -> Any:
        """The fact, None when there is none for these conditions."""
        try:
            kept = json.loads((self._directory / f"{name}.json").read_text())
        except (OSError, ValueError):
            return None
        return kept["fact"] if kept.get("conditions") == conditions else None

    def keep(self, name: str, conditions: Conditions, fact: Any) -> None:
        """Keep the fact. A home that cannot be written is no error: it is found out again."""
        path = self._directory / f"{name}.json"
        part = path.with_suffix(f".part{os.getpid()}")
        try:
            self._directory.mkdir(mode=0o711, parents=True, exist_ok=True)
            part.write_text(json.dumps({"conditions": conditions, "fact": fact}, indent=1))
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)


def boot_id() -> str:
    """What changes when the host boots; empty where the kernel does not tell."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def file_identity(path: Path) -> list[int] | None:
    """Size and time of a program, which change when another version is installed."""
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]
