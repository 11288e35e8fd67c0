"""Short names for long directories, for the kernel's limit on the path of a UNIX socket.

A short name is a symbolic link in a directory that only this user may write, named after the real
path, so that every process of the user finds the same one.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Final

from buildflow.errors import HostUnusable

_WHERE: Final = Path("/tmp")  # noqa: S108 - checked for owner and mode before use


def of(path: Path) -> Path:
    """The short name of `path`. Pure: makes nothing."""
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
    return _home() / digest


def ensure(path: Path) -> Path:
    """Make the short name of `path` and return it. Raises HostUnusable when it is not safe."""
    home, link = _home(), of(path)
    try:
        # QEMU may run as another user and has to come through here
        home.mkdir(mode=0o711, exist_ok=True)
        found = home.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise HostUnusable(f"{home} is not safe to use: it must be yours alone; remove it")
        if link.is_symlink() and os.readlink(link) == str(path):  # noqa: PTH115 - text, not a path
            return link
        part = link.with_name(f".{link.name}.{os.getpid()}")
        part.unlink(missing_ok=True)
        part.symlink_to(path)
        part.replace(link)
    except OSError as error:
        raise HostUnusable(f"no short name for {path}: {error}") from error
    return link


def forget(path: Path) -> None:
    """Remove the short name of `path`; one that is not there is fine."""
    of(path).unlink(missing_ok=True)


def _home() -> Path:
    return _WHERE / f"buildflow-{os.geteuid()}"
