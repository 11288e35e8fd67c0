"""os-brick, as far as a host without an iSCSI initiator goes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from buildflow.errors import HostUnusable, Refused

pytest.importorskip("os_brick")

from buildflow.drivers.openstack import brick


def test_a_connector_has_what_cinder_wants() -> None:
    connector = brick.connector_properties("192.0.2.1", "host-a")
    assert connector["host"] == "host-a"
    assert connector["ip"] == "192.0.2.1"
    assert connector["platform"]
    assert connector["multipath"] is False


def test_a_local_device_is_connected_found_and_let_go(tmp_path: Path) -> None:
    device = tmp_path / "device"
    device.write_bytes(bytes(4096))
    info = {
        "driver_volume_type": "local",
        "serial": "v1",
        "data": {"device_path": str(device)},
    }
    assert brick.connect(info) == str(device)
    assert brick.find(info)
    brick.disconnect(info)


def test_a_kind_that_brick_does_not_know() -> None:
    info = {"driver_volume_type": "floppy", "serial": "v1", "data": {}}
    with pytest.raises(Refused, match="cannot connect floppy volume v1 on this host"):
        brick.connect(info)


def test_a_host_without_an_initiator_says_so_without_the_password() -> None:
    info = {
        "driver_volume_type": "iscsi",
        "serial": "v1",
        "data": {
            "target_portal": "127.0.0.1:9", "target_iqn": "iqn.x:y", "target_lun": 1,
            "auth_method": "CHAP", "auth_username": "u", "auth_password": "hush-hush",
        },
    }  # fmt: skip
    with pytest.raises(HostUnusable, match="volume_attach = qemu") as caught:
        brick.connect(info)
    assert "hush-hush" not in str(caught.value)
    assert caught.value.__suppress_context__
    brick.disconnect(info)  # there never was a device


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become nobody")
def test_an_ordinary_user_gets_a_connector_too() -> None:
    program = (
        "import os; from buildflow.drivers.openstack import brick;"
        "from os_brick.initiator import connector; os.setuid(65534);"
        "print(brick.connector_properties('192.0.2.1', 'host-a')['host'])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "host-a\n"
    assert done.stderr == ""
