"""Instance directories and who may enter them."""

import stat
from pathlib import Path

import pytest

from buildflow.drivers.files.instance_directory import CONSOLE_LOG, InstanceDirectories
from buildflow.errors import BadInput, DriverError

KEY = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.mark.parametrize(("shared", "mode"), [(False, 0o700), (True, 0o711)])
def test_it_is_ours_alone_unless_qemu_is_somebody_else(
    tmp_path: Path, shared: bool, mode: int
) -> None:
    path = InstanceDirectories(tmp_path / "instances", shared=shared).create(KEY)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert stat.S_IMODE((path / CONSOLE_LOG).stat().st_mode) == 0o600


def test_making_it_again_keeps_what_is_in_it(tmp_path: Path) -> None:
    directories = InstanceDirectories(tmp_path)
    (directories.create(KEY) / CONSOLE_LOG).write_text("line")
    assert (directories.create(KEY) / CONSOLE_LOG).read_text() == "line"


def test_it_is_removed_with_all_that_is_in_it(tmp_path: Path) -> None:
    directories = InstanceDirectories(tmp_path)
    path = directories.create(KEY)
    (path / "deep" / "er").mkdir(parents=True)
    (path / "deep" / "er" / "file").touch()
    (path / "link").symlink_to(tmp_path)
    directories.delete(KEY)
    directories.delete(KEY)
    assert directories.find(KEY) is None
    assert tmp_path.is_dir()


def test_all_are_listed(tmp_path: Path) -> None:
    directories = InstanceDirectories(tmp_path / "instances")
    assert list(directories.all()) == []
    for key in ("b", "a"):
        directories.create(key)
    assert list(directories.all()) == ["a", "b"]


@pytest.mark.parametrize("key", ["..", "a/b", "", "../x", ".hidden"])
def test_a_key_cannot_lead_elsewhere(tmp_path: Path, key: str) -> None:
    with pytest.raises(BadInput):
        InstanceDirectories(tmp_path / "instances").create(key)


def test_a_place_that_cannot_be_written_is_an_error_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DriverError, match="cannot make"):
        InstanceDirectories(tmp_path / "file").create(KEY)


def test_a_console_log_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / KEY).mkdir()
    (tmp_path / KEY / CONSOLE_LOG).symlink_to(tmp_path / "victim")
    with pytest.raises(DriverError):
        InstanceDirectories(tmp_path).create(KEY)
    assert not (tmp_path / "victim").exists()
