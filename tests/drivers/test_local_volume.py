"""Volumes that are files: beside the contract, what only files can do wrong."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from buildflow.drivers.local_volume import LocalVolumeDriver
from buildflow.errors import BadInput, Conflict, DriverError, NotFound, Refused

KEY = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    (tmp_path / "volumes").mkdir()
    return tmp_path / "volumes"


@pytest.fixture
def driver(volumes: Path) -> LocalVolumeDriver:
    return LocalVolumeDriver(volumes)


def test_a_file_that_the_user_puts_there_is_a_volume(
    driver: LocalVolumeDriver, volumes: Path
) -> None:
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", str(volumes / "data.qcow2"), "3G"], check=True
    )
    described = driver.validate("data", "instance")
    assert (described["size"], described["status"]) == (3, "available")
    driver.reserve(KEY, "data", "instance")
    info = driver.initialize_connection(KEY, "data", {"host": "h"}, "/dev/vdb")
    assert info["driver_volume_type"] == "local"
    assert info["data"]["format"] == "qcow2"
    assert info["data"]["device_path"] == str(volumes / "data.qcow2")


@pytest.mark.parametrize("volume_id", ["../etc/passwd", "", "a/b", ".lock", "x" * 200])
def test_an_id_cannot_lead_elsewhere(driver: LocalVolumeDriver, volume_id: str) -> None:
    with pytest.raises(NotFound):
        driver.validate(volume_id, "instance")


def test_a_volume_is_made_from_an_image(
    driver: LocalVolumeDriver, volumes: Path, tmp_path: Path
) -> None:
    image = tmp_path / "image.raw"
    image.write_bytes(b"content" + b"\0" * 505)
    made = driver.create_volume(KEY, "instance", {"size": 1, "image_id": str(image)})
    path = volumes / f"{made['id']}.raw"
    assert path.stat().st_size == 1 << 30
    with path.open("rb") as file:
        assert file.read(7) == b"content"


def test_an_image_that_does_not_fit_leaves_nothing(
    driver: LocalVolumeDriver, volumes: Path, tmp_path: Path
) -> None:
    image = tmp_path / "image.raw"
    image.touch()
    os.truncate(image, 2 << 30)
    with pytest.raises(BadInput, match="does not fit"):
        driver.create_volume(KEY, "instance", {"size": 1, "image_id": str(image)})
    driver.delete_volume(KEY, KEY)
    assert [p.name for p in volumes.iterdir()] == [".lock"]


@pytest.mark.parametrize("spec", [{"size": 0}, {"size": 1, "snapshot_id": "s"}])
def test_what_files_cannot_be_is_refused(
    driver: LocalVolumeDriver, spec: dict[str, object]
) -> None:
    with pytest.raises(BadInput):
        driver.create_volume(KEY, "instance", spec)


def test_a_volume_in_use_is_not_deleted(driver: LocalVolumeDriver) -> None:
    driver.create_volume(KEY, "instance", {"size": 1})
    driver.reserve("attachment", KEY, "instance")
    with pytest.raises(Refused, match="detach it first"):
        driver.delete_volume(KEY, KEY)
    driver.unreserve("attachment", KEY, "instance")
    driver.delete_volume(KEY, KEY)


def test_what_was_not_reserved_is_not_connected(driver: LocalVolumeDriver, volumes: Path) -> None:
    (volumes / "data.raw").touch()
    with pytest.raises(Conflict):
        driver.initialize_connection("no", "data", {}, "/dev/vdb")
    with pytest.raises(Conflict):
        driver.attach("no", "data", "instance", "/dev/vdb")


def test_a_volume_that_vanished_is_given_back_without_complaint(
    driver: LocalVolumeDriver, volumes: Path
) -> None:
    (volumes / "data.raw").touch()
    driver.reserve(KEY, "data", "instance")
    driver.attach(KEY, "data", "instance", "/dev/vdb")
    (volumes / "data.raw").unlink()
    driver.detach(KEY, "data", "instance")
    driver.terminate_connection(KEY, "data", {})
    driver.unreserve(KEY, "data", "instance")


def test_a_state_that_cannot_be_read_is_an_error_and_not_an_available_volume(
    driver: LocalVolumeDriver, volumes: Path
) -> None:
    (volumes / "data.raw").touch()
    (volumes / "data.json").write_text("{")
    with pytest.raises(DriverError, match="cannot be read"):
        driver.reserve(KEY, "data", "instance")


@pytest.mark.slow
def test_processes_that_race_for_a_volume_do_not_share_it(volumes: Path) -> None:
    (volumes / "data.raw").touch()
    program = (
        "import sys; from pathlib import Path; from buildflow.drivers.local_volume import *;"
        "LocalVolumeDriver(Path(sys.argv[1])).reserve(sys.argv[2], 'data', sys.argv[2])"
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(volumes), f"build-{n}"], stderr=subprocess.PIPE
        )
        for n in range(4)
    ]
    codes = [child.communicate() and child.returncode for child in children]
    assert sorted(codes) == [0, 1, 1, 1]


@pytest.mark.slow
def test_killed_while_it_is_made_it_is_found_by_its_key_or_removable_by_it(
    driver: LocalVolumeDriver, volumes: Path, tmp_path: Path
) -> None:
    image = tmp_path / "image.raw"
    image.write_bytes(os.urandom(8 << 20))
    program = (
        "import sys; from pathlib import Path; from buildflow.drivers.local_volume import *;"
        "print('go', flush=True); LocalVolumeDriver(Path(sys.argv[1])).create_volume("
        "sys.argv[2], 'i', {'size': 1, 'image_id': sys.argv[3]})"
    )
    for step in range(8):
        child = subprocess.Popen(
            [sys.executable, "-c", program, str(volumes), KEY, str(image)],
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert child.stdout is not None
        child.stdout.readline()
        signal.sigtimedwait([], step * 0.004)
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        found = driver.find_volume(KEY)
        assert found is None or (volumes / f"{KEY}.raw").stat().st_size == 1 << 30
        driver.delete_volume(KEY, KEY)
        assert {p.name for p in volumes.iterdir()} <= {".lock"}
