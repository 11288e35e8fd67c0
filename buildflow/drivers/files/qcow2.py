"""Reads a qcow2 file's own tables, to find one that was cut short before QEMU does.

Only what docs/interop/qcow2.txt of QEMU promises is used: header, L1 and L2 tables, refcount table.
Every data cluster that a table names must begin inside the file.
"""

from __future__ import annotations

import struct
import sys
from array import array
from pathlib import Path
from typing import IO, Final

_HEADER: Final = struct.Struct(">4sIQIIQIIQQII")
_OFFSET: Final = 0x00FFFFFFFFFFFE00
_COMPRESSED: Final = 1 << 62
_CORRUPT: Final = 1 << 1
# QEMU's own limits: 2 MiB clusters, 32 MiB of L1 table
_MAX_CLUSTER_BITS: Final = 21
_MAX_L1_BYTES: Final = 32 << 20
# header and extensions lie in the first cluster; QEMU's default cluster holds any that we make
_CLUSTER_MIN: Final = 64 << 10
_V3_HEADER: Final = 104
_END_OF_EXTENSIONS: Final = 0
_BACKING_FORMAT: Final = 0xE2792ACA


class Broken(Exception):
    """Why the file is no whole qcow2."""


def check(path: Path, size: int) -> int:
    """The virtual size in bytes of the qcow2 at `path`, whose file has `size` bytes.

    Raises Broken when it is truncated, encrypted, marked corrupt or makes no sense.
    """
    with path.open("rb") as file:
        head = file.read(104)
        if len(head) < _HEADER.size:
            raise Broken("it ends within its header")
        (_, version, _, _, cluster_bits, virtual, crypt, l1_size, l1_offset, refcount_offset,
         refcount_clusters, _) = _HEADER.unpack_from(head)  # fmt: skip
        if not 9 <= cluster_bits <= _MAX_CLUSTER_BITS:
            raise Broken(f"clusters of 2**{cluster_bits} bytes do not exist")
        if crypt:
            raise Broken("it is encrypted, and there is no key for it")
        if version >= 3 and len(head) >= 80:
            (features,) = struct.unpack_from(">Q", head, 72)
            if features & _CORRUPT:
                raise Broken("it is marked corrupt; `qemu-img check -r all` may repair it")
        if l1_size * 8 > _MAX_L1_BYTES:
            raise Broken("its L1 table is larger than QEMU allows")
        cluster = 1 << cluster_bits
        _within(l1_offset + l1_size * 8, size, "L1 table")
        _within(refcount_offset + refcount_clusters * cluster, size, "refcount table")
        l1 = _table(file, l1_offset, l1_size)
        for entry in l1:
            if offset := entry & _OFFSET:
                _within(offset + cluster, size, "L2 table")
                _check_l2(_table(file, offset, cluster // 8), cluster_bits, size)
    return int(virtual)


def backing(path: Path) -> tuple[str, str] | None:
    """Path and format of the backing file that an overlay of ours names, None when it names none
    (or is not there, or is no qcow2).
    """
    try:
        with path.open("rb") as file:
            head = file.read(_CLUSTER_MIN)
    except OSError:
        return None
    if len(head) < _V3_HEADER or head[:4] != b"QFI\xfb":
        return None
    offset, length = struct.unpack_from(">QI", head, 8)
    (at,) = struct.unpack_from(">I", head, 100)
    if not offset or offset + length > len(head):
        return None
    disk_format = "raw"
    while at + 8 <= len(head):  # extensions: type, length, data padded to eight bytes
        kind, size = struct.unpack_from(">II", head, at)
        if kind == _END_OF_EXTENSIONS:
            break
        if kind == _BACKING_FORMAT:
            disk_format = head[at + 8 : at + 8 + size].decode()
        at += 8 + -(-size // 8) * 8
    return head[offset : offset + length].decode(errors="surrogateescape"), disk_format


def _check_l2(entries: array[int], cluster_bits: int, size: int) -> None:
    compressed_mask = (1 << (62 - (cluster_bits - 8))) - 1
    furthest = max(
        (e & compressed_mask if e & _COMPRESSED else e & _OFFSET) for e in entries
    )  # one pass; a table has at most a few thousand entries
    if furthest >= size:
        raise Broken(f"it is truncated: a cluster lies at byte {furthest}, the file has {size}")


def _table(file: IO[bytes], offset: int, entries: int) -> array[int]:
    file.seek(offset)
    table: array[int] = array("Q", file.read(entries * 8))
    if sys.byteorder == "little":
        table.byteswap()
    return table


def _within(end: int, size: int, what: str) -> None:
    if end > size:
        raise Broken(f"it is truncated: its {what} ends at byte {end}, the file has {size}")
