"""The table of vif types."""

from __future__ import annotations

import shutil

import pytest

from buildflow.drivers.openstack import vif
from buildflow.errors import BuildflowError, Refused

PORT = "0f6bd7b0-5d6c-4c34-9a54-1f1c1c5f6a01"
NETWORK = "5a1b7d3e-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    ("vif_type", "details", "becomes", "plugged_by", "bridge"),
    [
        ("bridge", {"bridge_name": "br-lab"}, "bridge", "libvirt", "br-lab"),
        ("bridge", {}, "bridge", "libvirt", "brq5a1b7d3e-00"),
        ("ovs", {}, "ovs", "libvirt", "br-int"),
        ("ovs", {"bridge_name": "br-x"}, "ovs", "libvirt", "br-x"),
        ("ovs", {"ovs_hybrid_plug": True}, "bridge", "os-vif", "qbr0f6bd7b0-5d"),
        ("tap", {}, "tap", "host", None),
    ],
)
def test_supported_types(
    vif_type: str, details: dict[str, object], becomes: str, plugged_by: str, bridge: str | None
) -> None:
    row = vif.supported(vif_type, details, PORT)
    assert (row.becomes, row.plugged_by) == (becomes, plugged_by)
    assert vif.bridge_of(row, details, NETWORK, PORT) == bridge
    assert row.why


@pytest.mark.parametrize(
    "vif_type", ["hw_veb", "vhostuser", "ib_hostdev", "macvtap", "distributed"]
)
def test_others_are_refused_with_what_would_do(vif_type: str) -> None:
    with pytest.raises(Refused, match=rf"'{vif_type}'.*supported are bridge, ovs, tap"):
        vif.supported(vif_type, {}, PORT)


def test_names_fit_the_kernel() -> None:
    assert vif.devname(PORT) == "tap0f6bd7b0-5d"
    assert len(vif.devname(PORT)) <= 14


HYBRID = {
    "id": PORT,
    "address": "fa:16:3e:00:00:01",
    "type": "bridge",
    "plugged_by": "os-vif",
    "network": {"id": NETWORK, "label": "net", "bridge": "qbr0f6bd7b0-5d", "mtu": 1450},
    "devname": "tap0f6bd7b0-5d",
    "details": {"ovs_hybrid_plug": True, "port_filter": True, "bridge_name": "br-int"},
    "instance": "94187dce-1e53-4505-9bf5-67c09d9e1e82",
    "preexisting": False,
}


def test_a_hybrid_port_in_os_vifs_words() -> None:
    pytest.importorskip("os_vif")
    _, objects = vif._load_os_vif()
    made = vif._os_vif_object(objects, HYBRID)
    assert made.plugin == "ovs"
    assert made.bridge_name == "qbr0f6bd7b0-5d"
    assert made.network.bridge == "br-int"
    assert made.network.mtu == 1450
    assert made.port_profile.interface_id == PORT
    assert made.has_traffic_filtering


def test_a_hybrid_port_on_a_host_without_open_vswitch() -> None:
    pytest.importorskip("os_vif")
    if shutil.which("ovs-vsctl"):
        pytest.skip("this host has Open vSwitch")
    assert not vif.is_plugged(HYBRID)
    vif.unplug(HYBRID)
    with pytest.raises(BuildflowError, match=f"os-vif cannot plug port {PORT}"):
        vif.plug(HYBRID)
    vif.unplug(HYBRID)
    assert not vif.is_plugged(HYBRID)
