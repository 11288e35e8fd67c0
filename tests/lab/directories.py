"""Directories that servers running as another user can work in."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
CACHE = REPOSITORY / ".cache"


def is_open(directory: Path) -> bool:
    """Whether every user may enter the directory."""
    directory = directory.resolve()
    return all(each.stat().st_mode & 0o001 for each in (directory, *directory.parents))


@contextmanager
def open_directory(prefix: str = "bf-") -> Iterator[Path]:
    """A temporary directory with a short path that every user may enter.

    pytest's own `tmp_path` lies below a directory that is its user's alone, where neither QEMU as
    libvirt-qemu nor PostgreSQL as postgres could reach its files; and its path is too long for a
    socket.
    """
    path = Path(tempfile.mkdtemp(prefix=prefix))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
