"""Images where QEMU cannot come, made reachable: a copy in the home, for all builds.

Run by root, QEMU is a user of its own, and an image in /root or in somebody's home is closed to it.
Nova copies every image into its own store (nova/virt/libvirt/imagecache.py); here only those are
copied that must be. A copy is named after the image as it was, so that a changed image is copied
anew, and it stays, for disks may stand on it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Final

from buildflow.drivers.libvirt.qemu_user import QemuUser
from buildflow.drivers.protocols import Image, Pause
from buildflow.errors import DriverError, Exhausted

_POLL_S: Final = 0.1
_NO_ROOM: Final = ("No space left on device", "Disk quota exceeded")


def reachable(image: Image, user: QemuUser | None, cache: Path, pause: Pause) -> Image:
    """`image` when QEMU's `user` (None: ourselves) may read it where it is, else a copy in `cache`.

    Raises Exhausted when the copy does not fit, DriverError when it fails.
    """
    if user is None or _may_read(Path(image.path), user):
        return image
    copy = cache / _name(image)
    if not copy.exists():
        _copy(Path(image.path), copy, user, pause)
    return replace(image, path=str(copy))


def _may_read(path: Path, user: QemuUser) -> bool:
    found = path.stat()
    bit = stat.S_IROTH
    if found.st_uid == user.uid:
        bit = stat.S_IRUSR
    elif found.st_gid in user.groups:
        bit = stat.S_IRGRP
    return user.uid == 0 or (bool(found.st_mode & bit) and user.first_closed(path) is None)


def _name(image: Image) -> str:
    found = Path(image.path).stat()
    what = f"{image.path}\0{found.st_dev}\0{found.st_ino}\0{found.st_size}\0{found.st_mtime_ns}"
    return f"{hashlib.sha256(os.fsencode(what)).hexdigest()[:24]}.{image.format}"


def _copy(image: Path, copy: Path, user: QemuUser, pause: Pause) -> None:
    """Whole or not there; holes stay holes, and a file system that can shares the blocks."""
    part = copy.with_name(f".{copy.name}.{os.getpid()}.part")
    try:
        copy.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        command = ["cp", "--sparse=auto", "--reflink=auto", "--", str(image), str(part)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as copying:
            try:
                pause(0)  # a stop is heard of however quick the copying is
                while copying.poll() is None:
                    pause(_POLL_S)
            except BaseException:
                copying.kill()
                raise
            said = " ".join((copying.stderr.read() if copying.stderr else "").split())
        if copying.returncode:
            kind = Exhausted if any(text in said for text in _NO_ROOM) else DriverError
            raise kind(f"cannot copy the image: {said}", driver="image", code=copying.returncode)
        os.chown(part, user.uid, user.gid)
        part.chmod(0o400)
        part.rename(copy)
    except OSError as error:
        raise DriverError(
            f"cannot copy the image: {error.strerror}", driver="image", code=error.errno
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
