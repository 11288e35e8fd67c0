"""A bootable disk, assembled from files without root: no loop device, no mount, no mknod.

Layout: an MBR with syslinux's boot code, an active FAT16 partition with syslinux, the kernel and
the initial file system, and an ext4 partition on which the guest counts its boots.
"""

import os
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

SECTOR = 512
MIB_SECTORS = 2048
FAT_START = 2048
FAT_SECTORS = 24 * MIB_SECTORS
EXT_START = FAT_START + FAT_SECTORS
EXT_SECTORS = 10 * MIB_SECTORS

_FAT16_LBA = 0x0E
_LINUX = 0x83
_ACTIVE = 0x80


@dataclass(frozen=True)
class Tools:
    """Where syslinux and mtools were unpacked, and the one time that all files carry."""

    root: Path
    epoch: int

    def run(self, *command: str, **env: str) -> None:
        """Run a program of the unpacked packages, or of the host, with reproducible results."""
        path = os.environ.get("PATH", "/usr/bin:/bin")
        environment = {
            "PATH": f"{self.root}/usr/bin:{path}:/usr/sbin:/sbin",
            "LC_ALL": "C",
            "TZ": "UTC",
            "SOURCE_DATE_EPOCH": str(self.epoch),
            "E2FSPROGS_FAKE_TIME": str(self.epoch),
            "MTOOLS_SKIP_CHECK": "1",
            "MTOOLSRC": "/dev/null",
            **env,
        }
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")


def boot_partition(tools: Tools, out: Path, kernel: Path, initrd: Path, append: str) -> None:
    """Write a FAT16 file system that syslinux boots with `append` as the kernel's command line."""
    config = out.with_name("syslinux.cfg")
    config.write_text(
        "DEFAULT buildflow\nPROMPT 0\nTIMEOUT 0\nSERIAL 0 115200\nLABEL buildflow\n"
        f" KERNEL {kernel.name}\n APPEND initrd={initrd.name} {append}\n"
    )
    _empty(out, FAT_SECTORS)
    image = str(out)
    tools.run(
        "mformat", "-i", image, "-v", "BFBOOT", "-N", "42464246", "-T", str(FAT_SECTORS),
        "-h", "16", "-s", "63", "-H", str(FAT_START), "::",
    )  # fmt: skip
    files = [kernel, initrd, config]
    for path in files:
        os.utime(path, (tools.epoch, tools.epoch))
    tools.run("mcopy", "-m", "-i", image, *map(str, files), "::")
    tools.run("syslinux", "--install", image)


def data_partition(tools: Tools, out: Path) -> None:
    """Write a small ext4 file system with one file in it."""
    content = out.with_suffix(".files")
    content.mkdir()
    name = content / "hostname"
    name.write_text("bf-guest\n")
    for path in (name, content):
        os.utime(path, (tools.epoch, tools.epoch))
    _empty(out, EXT_SECTORS)
    tools.run(
        "mke2fs", "-q", "-t", "ext4", "-O", "^metadata_csum,^has_journal,^resize_inode",
        "-E", "hash_seed=42464246-0000-4000-8000-000000000001,lazy_itable_init=0",
        "-U", "42464246-0000-4000-8000-000000000002", "-L", "bfroot",
        "-d", str(content), str(out),
    )  # fmt: skip
    # mke2fs copies the file's change and access times, which no utime can set.
    for field in ("ctime", "atime", "mtime"):
        request = f"set_inode_field /hostname {field} @{tools.epoch}"
        tools.run("debugfs", "-w", "-R", request, str(out))
    shutil.rmtree(content)


def assemble(tools: Tools, out: Path, fat: Path, ext: Path) -> None:
    """Write the whole disk: boot code, partition table, partitions."""
    code = (tools.root / "usr/lib/syslinux/mbr/mbr.bin").read_bytes()[:440]
    table = (
        _row(_ACTIVE, _FAT16_LBA, FAT_START, FAT_SECTORS)
        + _row(0, _LINUX, EXT_START, EXT_SECTORS)
        + bytes(32)
        + b"\x55\xaa"
    )
    _empty(out, EXT_START + EXT_SECTORS)
    with out.open("r+b") as disk:
        disk.write(code.ljust(446, b"\0") + table)
        for start, part in ((FAT_START, fat), (EXT_START, ext)):
            disk.seek(start * SECTOR)
            _copy_sparse(part, disk.fileno())


def _row(status: int, kind: int, start: int, sectors: int) -> bytes:
    return struct.pack("<B3sB3sII", status, bytes(3), kind, bytes(3), start, sectors)


def _empty(path: Path, sectors: int) -> None:
    path.unlink(missing_ok=True)
    with path.open("wb") as image:
        image.truncate(sectors * SECTOR)


def _copy_sparse(source: Path, destination: int) -> None:
    """Copy onto the file at its present offset, leaving holes where the source is zero."""
    block = 64 * 1024
    with source.open("rb") as reader:
        while piece := reader.read(block):
            if piece.count(0) == len(piece):
                os.lseek(destination, len(piece), os.SEEK_CUR)
            else:
                os.write(destination, piece)
