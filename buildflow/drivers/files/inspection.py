"""Is this file safe to give to QEMU as a disk, and what is it? (nova/image/format_inspector.py)

A guest image comes from a stranger: a qcow2 that names a backing or data file, or a VMDK that names
an extent, makes QEMU open that file of the host and show it to the guest. So the format is read
from the bytes, never from the name, and whatever refers to another file is refused.
"""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import Final

from oslo_utils.imageutils import format_inspector

from buildflow.drivers.files import qcow2
from buildflow.drivers.protocols import Image
from buildflow.errors import BadInput, NotFound

# formats found in bytes -> what QEMU is told; a partitioned raw disk is found as `gpt`
_ACCEPTED: Final = {"qcow2": "qcow2", "raw": "raw", "gpt": "raw"}
# endings that promise a format; others (.img, none) promise nothing
_PROMISES: Final = {
    ".qcow2": "qcow2", ".raw": "raw", ".vmdk": "vmdk", ".vdi": "vdi", ".vhd": "vhd",
    ".vhdx": "vhdx", ".iso": "iso", ".qed": "qed",
}  # fmt: skip
_SAYS: Final = {
    "backing_file": "it names a backing file, which QEMU would open on this host",
    "data_file": "it keeps its data in another file, which QEMU would open on this host",
    "unknown_features": "it uses qcow2 features that are not known to be safe",
    "descriptor": "it names an extent outside itself, which QEMU would open on this host",
    "footer": "its footer contradicts its header",
    "banned": "its format is never safe",
}

_Identity = tuple[int, int, int, int]
_seen: dict[str, tuple[_Identity, Image]] = {}
_seen_lock = threading.Lock()
_SEEN_LIMIT: Final = 256


def inspect(path: Path) -> Image:
    """The image at `path`, inspected. Remembered until the file changes.

    Raises NotFound when there is no such file, BadInput when it is no safe raw or qcow2 disk.
    """
    where = path.expanduser().absolute()
    text = str(where)
    if not text.isprintable():
        raise BadInput(f"image path {text!r} holds a character that no XML can carry")
    identity = _identity(where)
    with _seen_lock:
        known = _seen.get(text)
    if known is not None and known[0] == identity:
        return known[1]
    image = _inspect(where, size=identity[2])
    with _seen_lock:
        if len(_seen) >= _SEEN_LIMIT:
            _seen.clear()
        _seen[text] = (identity, image)
    return image


def _identity(path: Path) -> _Identity:
    try:
        found = path.stat()
    except FileNotFoundError:
        raise NotFound(f"no image at {path}") from None
    except OSError as error:
        raise BadInput(f"image {path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(found.st_mode):
        raise BadInput(f"image {path} is not a regular file")
    if not os.access(path, os.R_OK):
        raise BadInput(f"image {path} cannot be read: Permission denied")
    if found.st_size == 0:
        raise BadInput(f"image {path} is empty")
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _inspect(path: Path, size: int) -> Image:
    try:
        found = format_inspector.detect_file_format(str(path))
    except format_inspector.ImageFormatError as error:
        raise BadInput(
            f"image {path} can be read as two formats at once ({error}), so it is refused"
        ) from error
    except OSError as error:
        raise BadInput(f"image {path} cannot be read: {error.strerror}") from error
    if found is None:
        raise BadInput(f"image {path} cannot be told apart: it is no whole disk image")
    name = str(found)
    if name not in ("raw", "gpt"):  # raw is given to QEMU as raw: nothing in it is interpreted
        _refuse_unsafe(path, found)
    disk_format = _ACCEPTED.get(name)
    promised = _PROMISES.get(path.suffix.lower())
    if promised is not None and promised != (disk_format or name):
        raise BadInput(
            f"image {path} is not what its name says: its name says {promised}, its bytes"
            f" {disk_format or name}"
        )
    if disk_format is None:
        raise BadInput(
            f"image {path} is {name}: only raw and qcow2 are used;"
            f" convert it with `qemu-img convert -O qcow2`"
        )
    if disk_format == "raw":
        return Image(path=str(path), format="raw", virtual_size=size)
    try:
        virtual_size = qcow2.check(path, size)
    except qcow2.Broken as error:
        raise BadInput(f"image {path} is broken: {error}") from error
    return Image(path=str(path), format="qcow2", virtual_size=virtual_size)


def _refuse_unsafe(path: Path, inspector: format_inspector.FileInspector) -> None:
    try:
        inspector.safety_check()
    except format_inspector.SafetyCheckFailed as error:
        reasons = "; ".join(_SAYS.get(name, str(why)) for name, why in error.failures.items())
        raise BadInput(f"image {path} ({inspector}) is refused: {reasons}") from error
