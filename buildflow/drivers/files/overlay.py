"""qcow2 overlays on an image (nova/virt/libvirt/imagebackend.py: Qcow2). Complete, or not there.

qemu-img writes under a temporary name, and the rename makes the disk appear; so a kill at any
moment leaves a file that `find` does not see and `delete` removes. (A loss of power may leave less:
nothing is fsynced, for a disk that nobody has booted is made again.)
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

from buildflow.drivers.protocols import Image
from buildflow.errors import BadInput, DriverError, Exhausted, HostUnusable

_PART: Final = ".part"
_NO_ROOM: Final = ("No space left on device", "Disk quota exceeded", "File too large")


def find(key: str, directory: Path) -> Path | None:
    """The complete disk with this key, None when there is none."""
    path = _path(key, directory)
    return path if path.is_file() else None


def create(
    key: str,
    directory: Path,
    image: Image,
    size: int | None,
    owner: tuple[int, int] | None = None,
) -> Path:
    """Make the overlay on `image`, `size` bytes large when given; returns its path.

    `owner` (uid, gid) is to have it when QEMU is another user. Raises BadInput when `size` is less
    than the image's, Exhausted when the disk is full, DriverError when qemu-img fails, HostUnusable
    when there is no qemu-img.
    """
    if size is not None and size < image.virtual_size:
        raise BadInput(
            f"a root disk of {size} bytes cannot hold image {image.path} of"
            f" {image.virtual_size} bytes"
        )
    path = _path(key, directory)
    if path.is_file():
        return path
    part = path.with_name(path.name + _PART)
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", image.path, "-F", image.format]
    # the image has been inspected: give its size, and qemu-img need not open it
    command += [str(part), str(size or image.virtual_size)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise HostUnusable("qemu-img is not installed: apt-get install qemu-utils") from None
    if done.returncode:
        part.unlink(missing_ok=True)
        said = " ".join(done.stderr.split())
        kind = Exhausted if any(text in said for text in _NO_ROOM) else DriverError
        raise kind(f"cannot make the root disk: {said}", driver="compute", code=done.returncode)
    if owner is not None:
        os.chown(part, *owner)
    part.rename(path)
    return path


def delete(key: str, directory: Path) -> None:
    """Remove the disk and what a killed qemu-img left of it."""
    path = _path(key, directory)
    for leftover in (path, path.with_name(path.name + _PART)):
        leftover.unlink(missing_ok=True)


def _path(key: str, directory: Path) -> Path:
    return directory / f"disk-{key}.qcow2"
