"""What is accepted as an image, and what is refused: images come from strangers."""

import os
import pwd
import stat
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from buildflow.drivers.files.inspection import inspect
from buildflow.errors import BadInput, NotFound
from tests.lab.directories import open_directory


def qemu_img(*arguments: object) -> None:
    subprocess.run(["qemu-img", *map(str, arguments)], check=True, capture_output=True)


def make_qcow2(path: Path, size: str = "8M", *options: str) -> Path:
    qemu_img("create", "-q", "-f", "qcow2", *options, path, size)
    return path


def make_filled_qcow2(path: Path, megabytes: int = 4) -> Path:
    raw = path.with_suffix(".bytes")
    raw.write_bytes(os.urandom(megabytes << 20))
    qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, path)
    raw.unlink()
    return path


def test_a_qcow2_is_what_its_bytes_say(tmp_path: Path) -> None:
    image = inspect(make_filled_qcow2(tmp_path / "disk.img"))
    assert (image.format, image.virtual_size) == ("qcow2", 4 << 20)
    assert image.path == str(tmp_path / "disk.img")


def test_a_compressed_qcow2_is_whole(tmp_path: Path) -> None:
    raw = tmp_path / "content"
    raw.write_bytes(os.urandom(1 << 20) + b"abc" * 400_000)
    qemu_img("convert", "-c", "-f", "raw", "-O", "qcow2", raw, tmp_path / "small.qcow2")
    # a whole number of sectors, rounded up from what the file had
    assert inspect(tmp_path / "small.qcow2").virtual_size == -(-raw.stat().st_size // 512) * 512


@pytest.mark.parametrize(
    "options", [("-o", "compat=0.10"), ("-o", "cluster_size=2M"), ("-o", "lazy_refcounts=on")]
)
def test_every_kind_of_qcow2_that_qemu_makes_is_accepted(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    assert inspect(make_qcow2(tmp_path / "a.qcow2", "1G", *options)).virtual_size == 1 << 30


def test_a_raw_disk_may_hold_anything(tmp_path: Path) -> None:
    partitioned = tmp_path / "disk.raw"
    partitioned.write_bytes(
        b"\0" * 446 + b"\x80" + b"\0" * 3 + b"\x83" + b"\0" * 59 + b"\x55\xaa" + b"\0" * 4096
    )
    assert inspect(partitioned).format == "raw"
    noise = tmp_path / "noise"
    noise.write_bytes(os.urandom(100_000))
    assert inspect(noise).format == "raw"
    assert inspect(noise).virtual_size == 100_000


def test_a_qcow2_with_a_backing_file_is_refused(tmp_path: Path) -> None:
    base = make_qcow2(tmp_path / "base.qcow2")
    top = tmp_path / "top.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, top)
    with pytest.raises(BadInput, match="backing file"):
        inspect(top)


def test_a_qcow2_whose_backing_file_is_the_hosts_password_file_is_refused(tmp_path: Path) -> None:
    top = tmp_path / "evil.qcow2"
    qemu_img("create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", "/etc/shadow", top, "1M")
    with pytest.raises(BadInput, match="backing file"):
        inspect(top)


def test_a_qcow2_with_a_data_file_is_refused(tmp_path: Path) -> None:
    top = make_qcow2(tmp_path / "top.qcow2", "1M", "-o", f"data_file={tmp_path}/elsewhere.raw")
    with pytest.raises(BadInput, match="data in another file"):
        inspect(top)


def test_a_vmdk_with_an_outside_extent_is_refused_and_says_so(tmp_path: Path) -> None:
    descriptor = (
        "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n"
        'createType="monolithicFlat"\n\n# Extent description\n'
        'RW 2048 FLAT "/etc/shadow" 0\n\n# The Disk Data Base\n#DDB\n'
    )
    header = struct.pack("<4sIIQQQQIQQQ", b"KDMV", 1, 3, 2048, 128, 1, 1, 512, 21, 26, 128).ljust(
        512, b"\0"
    )
    path = tmp_path / "evil.vmdk"
    path.write_bytes(header + descriptor.encode().ljust(10240, b"\0") + b"\0" * 65536)
    with pytest.raises(BadInput, match="extent outside itself"):
        inspect(path)


@pytest.mark.parametrize("kind", ["vmdk", "vdi", "vpc", "vhdx", "qed"])
def test_other_formats_are_refused_with_the_cure(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "disk"
    qemu_img("create", "-q", "-f", kind, path, "8M")
    with pytest.raises(BadInput, match=r"refused|convert it with"):
        inspect(path)


@pytest.mark.parametrize("keep", [0.5, 0.9, 0.02])
def test_a_truncated_qcow2_is_refused(tmp_path: Path, keep: float) -> None:
    path = make_filled_qcow2(tmp_path / "cut.qcow2")
    cut = int(path.stat().st_size * keep) // 512 * 512
    os.truncate(path, cut)
    with pytest.raises(BadInput, match=r"truncated|ends within"):
        inspect(path)


def test_a_qcow2_that_is_only_its_magic_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tiny.qcow2"
    path.write_bytes(b"QFI\xfb\0\0\0\x03")
    with pytest.raises(BadInput):
        inspect(path)


@pytest.mark.parametrize("at", [20, 36, 40, 48])
def test_a_qcow2_whose_header_is_nonsense_is_refused(tmp_path: Path, at: int) -> None:
    path = make_filled_qcow2(tmp_path / "bad.qcow2")
    data = bytearray(path.read_bytes())
    data[at : at + 4] = b"\x7f\xff\xff\xff"
    path.write_bytes(data)
    with pytest.raises(BadInput):
        inspect(path)


def test_a_corrupt_bit_is_refused_with_the_cure(tmp_path: Path) -> None:
    path = make_filled_qcow2(tmp_path / "bad.qcow2")
    data = bytearray(path.read_bytes())
    data[79] |= 2
    path.write_bytes(data)
    with pytest.raises(BadInput, match="qemu-img check"):
        inspect(path)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("raw.qcow2", lambda p: p.write_bytes(b"\0" * 4096)),
        ("qcow2.raw", make_qcow2),
        ("raw.vmdk", lambda p: p.write_bytes(b"\0" * 4096)),
    ],
)
def test_a_name_that_lies_is_refused(
    tmp_path: Path, name: str, make: Callable[[Path], object]
) -> None:
    make(tmp_path / name)
    with pytest.raises(BadInput, match="not what its name says"):
        inspect(tmp_path / name)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no image at"):
        inspect(tmp_path / "missing")
    with pytest.raises(BadInput, match="not a regular file"):
        inspect(tmp_path)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(BadInput, match="not a regular file"):
        inspect(fifo)
    (tmp_path / "empty").touch()
    with pytest.raises(BadInput, match="empty"):
        inspect(tmp_path / "empty")


def test_a_file_that_may_not_be_read_is_refused() -> None:
    with open_directory() as directory:
        path = directory / "mine.raw"
        path.write_bytes(b"\0" * 512)
        path.chmod(0)
        child = os.fork()
        if child == 0:
            # root may read everything, so the child becomes a user who may not
            try:
                if os.geteuid() == 0:
                    os.setuid(pwd.getpwnam("nobody").pw_uid)
                inspect(path)
            except BadInput as error:
                os._exit(0 if "Permission denied" in str(error) else 2)
            except BaseException:
                os._exit(3)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_path_that_no_xml_can_carry_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a\nb.raw"
    path.write_bytes(b"\0" * 512)
    with pytest.raises(BadInput, match="character"):
        inspect(path)


def test_a_file_that_changed_is_inspected_again(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(b"\0" * 4096)
    assert inspect(path).format == "raw"
    path.unlink()
    make_qcow2(path)
    assert inspect(path).format == "qcow2"
    assert stat.S_ISREG(path.stat().st_mode)


def test_a_relative_path_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk.raw").write_bytes(b"\0" * 512)
    monkeypatch.chdir(tmp_path)
    assert inspect(Path("disk.raw")).path == str(tmp_path / "disk.raw")
