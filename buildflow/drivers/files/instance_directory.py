"""The directory of an instance: its disk, its console log, its sockets (nova: instances_path).

A privileged libvirt runs QEMU as a user of its own, which must be able to come here and to write
the console log; with any other libvirt QEMU runs as us and the directory is ours alone.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from buildflow.errors import BadInput, DriverError, Exhausted

CONSOLE_LOG: Final = "console.log"
_KEY: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]*")


@dataclass(frozen=True, slots=True)
class InstanceDirectories:
    """All instance directories, under `root`. `owner` (uid, gid) is the user of QEMU when it is
    not ours and we may give files away, else None; `shared` tells that QEMU is another user.
    """

    root: Path
    owner: tuple[int, int] | None = None
    shared: bool = False

    def find(self, key: str) -> Path | None:
        """The directory with this key, None when there is none."""
        path = self._path(key)
        return path if path.is_dir() else None

    def create(self, key: str) -> Path:
        """Make the directory and its empty console log; what is there already stays.

        Raises Exhausted when the disk is full, DriverError when it cannot be made.
        """
        path = self._path(key)
        mode = 0o711 if self.shared else 0o700
        try:
            path.mkdir(mode=mode, parents=True, exist_ok=True)
            log = path / CONSOLE_LOG
            # whoever writes the log (QEMU, virtlogd) opens the file that is there, so that it is
            # ours to read (nova/virt/libvirt/driver.py: _create_console_log touches it as well)
            descriptor = os.open(
                log, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
            try:
                if self.owner is not None:
                    os.fchown(descriptor, *self.owner)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _failed(error, f"cannot make {path}") from error
        return path

    def delete(self, key: str) -> None:
        """Remove the directory with all that is in it, and see that it is gone."""
        path = self._path(key)
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            if path.exists():  # a file vanished under rmtree's hands: once more
                self.delete(key)
        except OSError as error:
            raise _failed(error, f"cannot remove {path}") from error

    def all(self) -> Iterator[str]:
        """The keys of all directories there are."""
        if self.root.is_dir():
            yield from sorted(entry.name for entry in self.root.iterdir() if entry.is_dir())

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise BadInput(f"{key!r} cannot name an instance directory")
        return self.root / key


def _failed(error: OSError, what: str) -> DriverError:
    kind = Exhausted if error.errno in (28, 122) else DriverError  # ENOSPC, EDQUOT
    return kind(f"{what}: {error.strerror}", driver="compute", code=error.errno)
