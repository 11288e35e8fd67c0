"""Overlays: complete or not there."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from buildflow.drivers.files import overlay, qcow2
from buildflow.drivers.protocols import Image
from buildflow.errors import BadInput, DriverError, HostUnusable

KEY = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.fixture
def image(tmp_path: Path) -> Image:
    path = tmp_path / "base, with: odd=name.raw"
    path.write_bytes(os.urandom(1 << 20))
    return Image(str(path), "raw", 1 << 20)


def virtual_size(path: Path) -> int:
    return qcow2.check(path, path.stat().st_size)


def test_an_overlay_stands_on_its_image(tmp_path: Path, image: Image) -> None:
    assert overlay.find(KEY, tmp_path) is None
    path = overlay.create(KEY, tmp_path, image, None)
    assert overlay.find(KEY, tmp_path) == path
    assert virtual_size(path) == image.virtual_size
    assert qcow2.backing(path) == (image.path, "raw")
    compared = subprocess.run(
        ["qemu-img", "compare", "-q", "-f", "qcow2", "-F", "raw", str(path), image.path],
        check=False,
    )
    assert compared.returncode == 0


def test_only_an_overlay_has_a_backing_file(tmp_path: Path, image: Image) -> None:
    assert qcow2.backing(Path(image.path)) is None
    assert qcow2.backing(tmp_path / "missing") is None
    plain = tmp_path / "plain.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(plain), "1M"], check=True)
    assert qcow2.backing(plain) is None
    above = overlay.create(KEY, tmp_path, Image(str(plain), "qcow2", 1 << 20), None)
    assert qcow2.backing(above) == (str(plain), "qcow2")


def test_it_has_the_size_asked_for(tmp_path: Path, image: Image) -> None:
    assert virtual_size(overlay.create(KEY, tmp_path, image, 5 << 20)) == 5 << 20


def test_a_disk_smaller_than_its_image_is_refused(tmp_path: Path, image: Image) -> None:
    with pytest.raises(BadInput, match="cannot hold"):
        overlay.create(KEY, tmp_path, image, 1 << 19)


def test_it_is_removed_with_what_a_kill_left(tmp_path: Path, image: Image) -> None:
    overlay.create(KEY, tmp_path, image, None)
    (tmp_path / f"disk-{KEY}.qcow2.part").touch()
    before = {Path(image.path).name}
    overlay.delete(KEY, tmp_path)
    overlay.delete(KEY, tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == before


def test_a_half_made_disk_is_not_found_and_is_made_again(tmp_path: Path, image: Image) -> None:
    (tmp_path / f"disk-{KEY}.qcow2.part").write_bytes(b"half")
    assert overlay.find(KEY, tmp_path) is None
    assert virtual_size(overlay.create(KEY, tmp_path, image, None)) == image.virtual_size


def test_an_image_that_is_gone_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "instance"
    directory.mkdir()
    with pytest.raises(DriverError, match="cannot make the root disk"):
        overlay.create(KEY, directory / "gone", Image("/nowhere", "raw", 512), None)
    assert list(directory.iterdir()) == []


def test_no_qemu_img_is_the_hosts_fault(
    tmp_path: Path, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostUnusable, match="apt-get install qemu-utils"):
        overlay.create(KEY, tmp_path, image, None)


@pytest.mark.slow
def test_killed_at_any_moment_it_is_complete_or_not_there(tmp_path: Path, image: Image) -> None:
    program = (
        "import sys; from pathlib import Path; from buildflow.drivers.files import overlay;"
        "from buildflow.drivers.protocols import Image; print('go', flush=True);"
        "overlay.create(sys.argv[1], Path(sys.argv[2]), Image(sys.argv[3], 'raw', 1 << 20), None)"
    )
    for step in range(12):
        directory = tmp_path / str(step)
        directory.mkdir()
        child = subprocess.Popen(
            [sys.executable, "-c", program, KEY, str(directory), image.path],
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(step * 0.002)
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        found = overlay.find(KEY, directory)
        assert found is None or virtual_size(found) == image.virtual_size
        overlay.delete(KEY, directory)
        assert list(directory.iterdir()) == []
