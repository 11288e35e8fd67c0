"""os-brick, as far as a host without an iSCSI initiator goes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from buildflow.config import Settings
from buildflow.drivers.openstack import brick
from buildflow.errors import BuildflowError

pytest.importorskip("os_brick")

LOCAL = {"driver_volume_type": "local", "serial": "v1"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Nothing but a home."""
    return Settings(home=tmp_path)


def test_a_connector_has_what_cinder_wants(settings: Settings) -> None:
    connector = brick.get_connector(settings, "host-a")
    assert connector["host"] == "host-a"
    assert connector["platform"]
    assert connector["initiator"]
    assert connector["ip"]
    assert connector["multipath"] is False


def test_an_initiator_of_our_own_where_the_host_has_none(settings: Settings) -> None:
    if Path("/etc/iscsi/initiatorname.iscsi").exists():
        pytest.skip("this host has an initiator's name of its own")
    connector = brick.get_connector(settings, "host-a")
    assert connector["initiator"] == "iqn.2008-11.org.linux-kvm:host-a"


def test_a_local_device_is_connected_found_and_let_go(settings: Settings, tmp_path: Path) -> None:
    device = tmp_path / "device"
    device.write_bytes(bytes(4096))
    info = {**LOCAL, "data": {"device_path": str(device)}}
    assert brick.connect_volume(settings, info) == {"device_path": str(device)}
    assert brick.find_connection(settings, info)
    brick.disconnect_volume(settings, info)


def test_a_kind_that_brick_does_not_know(settings: Settings) -> None:
    info = {"driver_volume_type": "floppy", "serial": "v1", "data": {}}
    with pytest.raises(BuildflowError, match="cannot connect floppy volume v1 on this host"):
        brick.connect_volume(settings, info)


def test_a_host_without_an_initiator_says_so_without_the_password(settings: Settings) -> None:
    info = {
        "driver_volume_type": "iscsi",
        "serial": "v1",
        "data": {
            "target_portal": "127.0.0.1:9", "target_iqn": "iqn.x:y", "target_lun": 1,
            "auth_method": "CHAP", "auth_username": "u", "auth_password": "hush-hush",
        },
    }  # fmt: skip
    with pytest.raises(BuildflowError, match="volume_attach = qemu") as caught:
        brick.connect_volume(settings, info)
    assert "hush-hush" not in str(caught.value)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become nobody")
def test_an_ordinary_user_gets_a_connector_too(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    program = (
        "import os, sys; from pathlib import Path; from buildflow.config import Settings;"
        "from buildflow.drivers.openstack import brick;"
        "from os_brick.initiator import connector; os.setuid(65534);"
        "c = brick.get_connector(Settings(home=Path(sys.argv[1])), 'host-a');"
        "print(c['initiator'])"
    )
    for parent in tmp_path.parents:
        if parent.stat().st_uid == 0 and parent != Path("/") and "pytest" in parent.name:
            parent.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, tmp_path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("iqn.")
    assert done.stderr == ""
