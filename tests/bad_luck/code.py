"""The program, where a user without privilege may read and run it.

A checkout, a virtual environment and even the interpreter may lie in root's own home; then the
first two are copied (by hard links where that can be), and the system's interpreter serves.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab.directories import REPOSITORY, is_open, open_directory

_SYSTEM = Path("/usr/bin/python3")
_PARTS = ("buildflow", "flows", "diagrams")


@dataclass(frozen=True)
class Code:
    """How to run the program."""

    python: Path
    path: tuple[Path, ...]


def our_own() -> Code:
    """For whoever runs the tests."""
    return Code(Path(sys.executable), (REPOSITORY,))


@contextmanager
def for_anybody() -> Iterator[Code | None]:
    """For every user of this host; None when no interpreter here can serve."""
    python = _interpreter()
    if python is None:
        yield None
        return
    packages = Path(sysconfig.get_path("purelib"))
    if is_open(REPOSITORY) and is_open(packages):
        yield Code(python, (REPOSITORY, packages))
        return
    with open_directory() as directory:
        for part in _PARTS:
            shutil.copytree(REPOSITORY / part, directory / part, symlinks=True)
        shutil.copytree(packages, directory / "packages", copy_function=_link)
        yield Code(python, (directory, directory / "packages"))


def _interpreter() -> Path | None:
    """One that anybody may run, and that takes this environment's compiled modules."""
    if is_open(Path(sys.executable).resolve().parent):
        return Path(sys.executable)
    ask = "import sysconfig; print(sysconfig.get_config_var('SOABI'))"
    if not _SYSTEM.exists():
        return None
    told = subprocess.run([_SYSTEM, "-c", ask], capture_output=True, text=True, check=False)
    same = told.stdout.strip() == sysconfig.get_config_var("SOABI")
    return _SYSTEM if same else None


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)
