"""Images are copied only where QEMU could not read them, whole or not at all."""

import os
from pathlib import Path

import pytest

from buildflow.drivers.files.reachable import reachable
from buildflow.drivers.libvirt.qemu_user import QemuUser
from buildflow.drivers.protocols import Image
from buildflow.errors import DriverError, StopBuild
from tests.lab.directories import open_directory

ME = QemuUser("me", os.geteuid(), frozenset({os.getegid()}))
NOBODY = QemuUser("nobody", 65534, frozenset({65534}))
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")


def pause(_seconds: float) -> None:
    """No time passes."""


def image_in(directory: Path) -> Image:
    path = directory / "image.raw"
    path.write_bytes(b"content" * 100)
    return Image(str(path), "raw", 700)


def test_an_own_qemu_reads_it_where_it_is(tmp_path: Path) -> None:
    image = image_in(tmp_path)
    assert reachable(image, None, tmp_path / "cache", pause) is image
    assert reachable(image, ME, tmp_path / "cache", pause) is image


def test_an_open_image_is_not_copied(tmp_path: Path) -> None:
    with open_directory() as directory:
        image = image_in(directory)
        Path(image.path).chmod(0o644)
        assert reachable(image, NOBODY, tmp_path / "cache", pause) is image
    assert not (tmp_path / "cache").exists()


@as_root
def test_a_closed_image_is_copied_for_qemu_alone(tmp_path: Path) -> None:
    image = image_in(tmp_path)  # pytest's directories are closed to others
    copy = reachable(image, NOBODY, tmp_path / "cache", pause)
    found = Path(copy.path)
    assert found.read_bytes() == Path(image.path).read_bytes()
    assert (found.stat().st_uid, found.stat().st_mode & 0o777) == (65534, 0o400)
    assert (copy.format, copy.virtual_size) == (image.format, image.virtual_size)


@as_root
def test_a_build_that_stops_meanwhile_leaves_no_half_copy(tmp_path: Path) -> None:
    image = image_in(tmp_path)
    os.truncate(image.path, 8 << 30)
    with Path(image.path).open("r+b") as file:
        for place in range(0, 8 << 30, 64 << 20):
            file.seek(place)
            file.write(os.urandom(4096))

    def stop(_seconds: float) -> None:
        raise StopBuild("cancelled")

    with pytest.raises(StopBuild):
        reachable(image, NOBODY, tmp_path / "cache", stop)
    assert list((tmp_path / "cache").iterdir()) == []


@as_root
def test_a_copy_that_fails_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    image = image_in(tmp_path)
    (tmp_path / "cache").touch()
    with pytest.raises(DriverError, match="cannot copy the image"):
        reachable(image, NOBODY, tmp_path / "cache", pause)
