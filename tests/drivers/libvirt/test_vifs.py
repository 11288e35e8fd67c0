"""Taps that we plug ourselves, on this host's real network devices."""

import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildflow.drivers.libvirt.vifs import Vifs
from buildflow.drivers.protocols import Json
from buildflow.errors import Refused

pytestmark = [pytest.mark.libvirt, pytest.mark.root]


@pytest.fixture
def vif() -> Iterator[Json]:
    port = str(uuid.uuid4())
    vif: Json = {
        "id": port, "address": "52:54:00:00:00:05", "type": "tap", "devname": f"tap{port}"[:14],
        "network": {"id": "n", "label": "n", "bridge": None, "subnets": []}, "details": {},
    }  # fmt: skip
    yield vif
    subprocess.run(
        ["ip", "link", "delete", "dev", vif["devname"]], capture_output=True, check=False
    )


def test_a_tap_there_and_back(vif: Json) -> None:
    vifs = Vifs()
    device = Path("/sys/class/net", vif["devname"])
    assert not vifs.find(vif)
    vifs.plug(vif)
    vifs.plug(vif)
    assert device.exists()
    assert vifs.find(vif)
    assert [(t.kind, t.key) for t in vifs.inventory()] == [("vif", vif["id"])]
    vifs.unplug(vif)
    vifs.unplug(vif)
    assert not device.exists()
    assert not vifs.find(vif)


def test_a_device_of_somebody_else_is_neither_taken_nor_removed(vif: Json) -> None:
    vifs = Vifs()
    name = vif["devname"]
    subprocess.run(["ip", "tuntap", "add", "dev", name, "mode", "tap"], check=True)
    subprocess.run(["ip", "link", "set", "dev", name, "alias", "theirs"], check=True)
    with pytest.raises(Refused, match="is not of port"):
        vifs.plug(vif)
    vifs.unplug(vif)
    assert Path("/sys/class/net", name).exists()
