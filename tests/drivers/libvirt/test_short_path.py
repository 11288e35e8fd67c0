"""Short names for long directories."""

import os
from pathlib import Path

import pytest

from buildflow.drivers.libvirt import embedded_root, short_path
from buildflow.errors import HostUnusable


@pytest.fixture(autouse=True)
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(short_path, "_WHERE", tmp_path)
    return tmp_path


def test_a_short_name_leads_to_the_long_one(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    assert short_path.ensure(long) == short_path.of(long)
    assert short_path.ensure(long).resolve() == long.resolve()
    short_path.forget(long)
    short_path.forget(long)
    assert not short_path.of(long).is_symlink()


def test_each_directory_has_its_own_and_always_the_same(tmp_path: Path) -> None:
    assert short_path.of(tmp_path / "a") == short_path.of(tmp_path / "a")
    assert short_path.of(tmp_path / "a") != short_path.of(tmp_path / "b")


def test_a_link_of_somebody_elses_making_is_replaced(tmp_path: Path) -> None:
    short_path.ensure(tmp_path / "other")
    link = short_path.of(tmp_path / "mine")
    link.symlink_to("/etc")
    assert short_path.ensure(tmp_path / "mine").readlink() == tmp_path / "mine"


def test_a_place_that_others_may_write_is_not_used(tmp_path: Path) -> None:
    home = short_path.of(tmp_path).parent
    home.mkdir()
    home.chmod(0o777)
    with pytest.raises(HostUnusable, match="not safe"):
        short_path.ensure(tmp_path)


def test_a_place_that_is_a_link_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "trap").mkdir()
    short_path.of(tmp_path).parent.symlink_to(tmp_path / "trap")
    with pytest.raises(HostUnusable):
        short_path.ensure(tmp_path)


def test_a_long_root_is_opened_by_its_short_name(tmp_path: Path) -> None:
    short_root = Path("/tmp") / f"bf-{os.getpid()}"
    long_root = tmp_path / ("y" * 60)
    try:
        assert embedded_root.prepare(short_root) == f"qemu:///embed?root={short_root}"
    finally:
        (short_root / "etc" / "qemu.conf").unlink()
        (short_root / "etc").rmdir()
        short_root.rmdir()
    assert embedded_root.prepare(long_root) == f"qemu:///embed?root={short_path.of(long_root)}"


def test_a_root_that_cannot_be_made_is_the_hosts_fault(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HostUnusable, match="cannot live in"):
        embedded_root.prepare(tmp_path / "file")


def test_settings_that_the_user_changed_are_left_alone(tmp_path: Path) -> None:
    embedded_root.prepare(tmp_path / "r")
    conf = tmp_path / "r" / "etc" / "qemu.conf"
    conf.write_text('user = "root"\n')
    embedded_root.prepare(tmp_path / "r")
    assert conf.read_text() == 'user = "root"\n'
