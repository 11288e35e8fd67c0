"""A cpio archive in the `newc` format that Linux takes as its initial file system.

Written here rather than by cpio(1) so that owner, time, order and inode numbers are ours, and the
same files always give the same bytes.
"""

import os
import stat
from pathlib import Path


def archive(root: Path, mtime: int) -> bytes:
    """Return all that is below `root`, owned by root, in sorted order."""
    out = bytearray()
    paths = sorted(root.rglob("*"), key=lambda path: path.relative_to(root).as_posix())
    for inode, path in enumerate(paths, start=1):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            content = os.fsencode(path.readlink())
        elif stat.S_ISREG(mode):
            content = path.read_bytes()
        else:
            content = b""
        _entry(out, path.relative_to(root).as_posix(), inode, mode, mtime, content)
    _entry(out, "TRAILER!!!", 0, 0, 0, b"")
    out.extend(bytes(-len(out) % 512))
    return bytes(out)


def _entry(out: bytearray, name: str, inode: int, mode: int, mtime: int, content: bytes) -> None:
    encoded = name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    # inode, mode, uid, gid, links, mtime, size, 2x device, 2x special device, name size, checksum
    fields = (inode, mode, 0, 0, links, mtime, len(content), 0, 0, 0, 0, len(encoded), 0)
    out.extend(b"070701" + b"".join(b"%08X" % field for field in fields))
    out.extend(encoded)
    out.extend(bytes(-len(out) % 4))
    out.extend(content)
    out.extend(bytes(-len(out) % 4))
