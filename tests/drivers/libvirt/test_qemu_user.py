"""As whom QEMU runs, and whether it can come to a path."""

import os
from pathlib import Path

import pytest

from buildflow.drivers.libvirt.qemu_user import QemuUser, qemu_user
from buildflow.drivers.libvirt.uri import Kind, Target
from tests.lab.directories import open_directory

NOBODY = QemuUser("nobody", 65534, frozenset({65534}))


def test_the_first_directory_that_is_closed() -> None:
    with open_directory() as top:
        (top / "open" / "closed" / "in").mkdir(parents=True)
        (top / "open").chmod(0o711)
        (top / "open" / "closed").chmod(0o700)
        assert NOBODY.first_closed(top / "open" / "file") is None
        assert NOBODY.first_closed(top / "open" / "closed" / "in" / "f") == top / "open" / "closed"
        assert NOBODY.first_closed(top / "open" / "not-yet" / "made") is None


def test_root_may_go_everywhere() -> None:
    assert QemuUser("root", 0, frozenset({0})).first_closed(Path("/root/.ssh/x")) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a directory away")
def test_an_own_group_opens_a_door() -> None:
    with open_directory() as top:
        (top / "shared").mkdir()
        (top / "shared").chmod(0o710)
        assert NOBODY.first_closed(top / "shared" / "x") == top / "shared"
        os.chown(top / "shared", 0, 65534)
        assert NOBODY.first_closed(top / "shared" / "x") is None


def test_an_unprivileged_hypervisor_runs_qemu_as_us(tmp_path: Path) -> None:
    assert qemu_user(Target("qemu:///session", Kind.SESSION)) is None
    assert qemu_user(Target("qemu+ssh://h/system", Kind.REMOTE)) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="embedded as root only")
@pytest.mark.parametrize(
    ("conf", "expected"),
    [
        ('user = "nobody"\n', "nobody"),
        ('user = "+65534"\n', "nobody"),
        ('#user = "x"\n', "libvirt-qemu"),
    ],
)
def test_an_embedded_root_says_who(tmp_path: Path, conf: str, expected: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "qemu.conf").write_text(conf)
    user = qemu_user(Target("", Kind.EMBED, tmp_path))
    assert user is not None
    assert user.name == expected


@pytest.mark.skipif(os.geteuid() != 0, reason="embedded as root only")
def test_qemu_as_root_is_us(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "qemu.conf").write_text('user = "root"\n')
    assert qemu_user(Target("", Kind.EMBED, tmp_path)) is None
