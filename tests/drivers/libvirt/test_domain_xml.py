"""The domain's XML: pure, in Nova's order, valid by libvirt's own schema, and without secrets."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from buildflow.drivers.libvirt.domain_xml import (
    NAMESPACE,
    QEMU_NAMESPACE,
    HostShape,
    build_of,
    check_name,
    domain_xml,
)
from buildflow.drivers.libvirt.portal import split_portal
from buildflow.drivers.protocols import GuestSpec, Json
from buildflow.errors import BadInput, Refused

SCHEMA = Path("/usr/share/libvirt/schemas/domain.rng")
UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
SECRET = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
VOLUME = "8fc07771-130e-4fc4-8cb0-0d47bc316cd4"
DAEMON = HostShape(initiator="iqn.2008-11.org.linux-kvm:host")
EMBEDDED = replace(DAEMON, secret_files="/home/secrets", agent_socket="/i/agent.sock")

DATA: dict[str, Json] = {
    "iscsi": {
        "target_portal": "10.0.0.1:3260", "target_iqn": "iqn.2010-10.org.openstack:v",
        "target_lun": 1,
    },
    "rbd": {
        "name": "volumes/volume-1", "hosts": ["10.0.0.1", "10.0.0.2"], "ports": ["6789", "6789"],
        "auth_enabled": True, "auth_username": "cinder", "secret_uuid": SECRET,
    },
    "nbd": {"host": "10.0.0.1", "port": 10809, "export": "disk"},
    "nfs": {"export": "10.0.0.1:/srv/volumes", "name": "volume-1"},
    "local-file": {"device_path": "/home/volumes/v.qcow2", "format": "qcow2"},
    "fibre_channel": {"device_path": "/dev/sdb", "discard": True},
}  # fmt: skip


def mapping(kind: str, **changed: Any) -> Json:
    data = {**DATA[kind], **changed}
    protocol = "local" if kind == "local-file" else kind
    return {
        "guest_format": None, "boot_index": None, "mount_device": "/dev/vdb",
        "connection_info": {"driver_volume_type": protocol, "serial": VOLUME, "data": data},
        "disk_bus": None, "device_type": None, "delete_on_termination": False,
    }  # fmt: skip


def vif(kind: str, **changed: Any) -> Json:
    return {
        "id": UUID, "address": "52:54:00:00:00:01", "type": kind, "devname": None, "details": {},
        "network": {"id": "n", "label": "lan", "bridge": "br-int", "subnets": []},
        **changed,
    }  # fmt: skip


def spec(*volumes: Json, ports: tuple[Json, ...] = (), **changed: Any) -> GuestSpec:
    given_spec = GuestSpec(
        uuid=UUID, name="web", memory_mib=96, vcpus=2, virt_type="qemu", directory="/i",
        root_disk="/i/disk.qcow2", root_disk_format="qcow2", network_info=ports,
        block_device_info={
            "root_device_name": "/dev/vda", "block_device_mapping": list(volumes),
            "ephemerals": [], "swap": None,
        },
    )  # fmt: skip
    return replace(given_spec, **changed)


def parsed(guest: GuestSpec, shape: HostShape = DAEMON) -> Any:
    return etree.fromstring(domain_xml(guest, shape))


def valid(guest: GuestSpec, shape: HostShape = DAEMON) -> Any:
    root = parsed(guest, shape)
    if SCHEMA.exists():
        schema = etree.RelaxNG(etree.parse(SCHEMA))
        assert schema.validate(root), schema.error_log
    return root


def test_elements_stand_in_novas_order() -> None:
    assert [child.tag for child in parsed(spec())] == [
        "uuid", "name", "memory", "vcpu", "metadata", "sysinfo", "os", "features", "clock",
        "devices",
    ]  # fmt: skip
    devices = [
        child.tag for child in parsed(spec(mapping("nbd"), ports=(vif("user"),))).find("devices")
    ]
    assert devices == [
        "disk", "disk", "interface", "serial", "console", "channel", "rng", "controller",
        "memballoon", "panic",
    ]  # fmt: skip


def test_a_machine_knows_its_uuid_and_its_build() -> None:
    root = valid(spec(metadata={"build": "b-1", "image": "x"}))
    assert root.findtext("uuid") == UUID
    entries = {e.get("name"): e.text for e in root.iterfind("sysinfo/system/entry")}
    assert (entries["uuid"], entries["serial"]) == (UUID, UUID)
    instance = root.find(f"metadata/{{{NAMESPACE}}}instance")
    assert build_of(etree.tostring(instance, encoding="unicode")) == "b-1"
    assert root.find("os/smbios").get("mode") == "sysinfo"


@pytest.mark.parametrize(
    "text",
    ["", "<a/>", "no xml", "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><x>&e;</x>"],
)
def test_metadata_of_others_names_no_build(text: str) -> None:
    assert build_of(text) is None


@given(
    st.dictionaries(
        st.sampled_from("abc"), st.text(st.characters(codec="utf-8", exclude_categories=["C"]))
    )
)
def test_any_printable_fact_survives(facts: dict[str, str]) -> None:
    root = parsed(spec(metadata=facts))
    found = {f.get("name"): f.text or "" for f in root.iter(f"{{{NAMESPACE}}}fact")}
    assert found == facts


def test_emulation_has_no_cpu_model_and_kvm_has_novas() -> None:
    assert valid(spec()).find("cpu") is None
    kvm = valid(spec(virt_type="kvm"))
    assert kvm.find("cpu").get("mode") == "host-model"
    assert {t.get("name") for t in kvm.iterfind("clock/timer")} == {"pit", "rtc", "hpet"}


@pytest.mark.parametrize("kind", list(DATA))
def test_every_kind_of_volume_is_valid_and_carries_its_id(kind: str) -> None:
    _, disk = valid(spec(mapping(kind))).findall("devices/disk")
    assert disk.findtext("serial") == VOLUME
    assert disk.find("target").get("dev") == "vdb"
    expected = {"local-file": "file", "fibre_channel": "block"}.get(kind, "network")
    assert disk.get("type") == expected
    if expected == "network":
        assert disk.find("source").get("protocol") == kind


def test_iscsi_logs_in_under_the_name_that_the_backend_was_told() -> None:
    _, disk = valid(spec(mapping("iscsi"))).findall("devices/disk")
    assert disk.find("source").get("name") == "iqn.2010-10.org.openstack:v/1"
    assert disk.find("source/host").attrib == {"name": "10.0.0.1", "port": "3260"}
    assert disk.find("source/initiator/iqn").get("name") == DAEMON.initiator


def test_a_password_is_named_by_its_secret_only() -> None:
    chap = mapping("iscsi", auth_method="CHAP", auth_username="user")
    _, disk = valid(spec(chap, secrets={VOLUME: SECRET})).findall("devices/disk")
    assert disk.find("auth").get("username") == "user"
    assert disk.find("auth/secret").attrib == {"type": "iscsi", "uuid": SECRET}
    _, disk = valid(spec(mapping("rbd"))).findall("devices/disk")
    assert disk.find("auth/secret").attrib == {"type": "ceph", "uuid": SECRET}


def test_the_embedded_hypervisor_reads_the_password_from_a_file() -> None:
    chap = mapping("iscsi", auth_method="CHAP", auth_username="user")
    root = valid(spec(chap, root_disk=None, secrets={VOLUME: SECRET}), EMBEDDED)
    assert root.findall("devices/disk") == []
    arguments = [a.get("value") for a in root.iter(f"{{{QEMU_NAMESPACE}}}arg")]
    assert arguments[0::2] == ["-object", "-blockdev", "-device"]
    assert f"/home/secrets/{SECRET}" in arguments[1]
    assert '"user": "user"' in arguments[3]
    assert '"bootindex"' not in arguments[5]


@pytest.mark.parametrize(
    ("volume", "says"),
    [
        (mapping("rbd"), "needs a libvirt daemon"),
        ({**mapping("iscsi"), "disk_bus": "scsi"}, "attaches iSCSI volumes to virtio"),
    ],
)
def test_what_the_embedded_hypervisor_cannot_say_is_refused(volume: Json, says: str) -> None:
    with pytest.raises(Refused, match=says):
        domain_xml(spec(volume, secrets={VOLUME: SECRET}), EMBEDDED)


def test_a_volume_that_qemu_cannot_open_by_itself_is_refused() -> None:
    volume = mapping("nbd")
    volume["connection_info"]["driver_volume_type"] = "scaleio"
    with pytest.raises(Refused, match="connected by this host"):
        domain_xml(spec(volume), DAEMON)


def test_boot_order_follows_boot_index() -> None:
    boot, data = mapping("nbd"), mapping("nfs")
    boot["boot_index"], boot["mount_device"] = 0, "vda"
    root = valid(spec(data, boot, root_disk=None))
    orders = {d.find("target").get("dev"): d.find("boot") for d in root.findall("devices/disk")}
    assert orders["vda"].get("order") == "1"
    assert orders["vdb"] is None


def test_read_only_shared_and_discarding_volumes() -> None:
    volume = mapping("fibre_channel", access_mode="ro")
    volume["connection_info"]["multiattach"] = True
    _, disk = valid(spec(volume)).findall("devices/disk")
    assert disk.find("readonly") is not None
    assert disk.find("shareable") is not None
    assert disk.find("driver").get("discard") == "unmap"


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        (vif("user"), {"type": "user"}),
        (vif("network"), {"type": "network", "source/@network": "lan"}),
        (
            vif("bridge", devname="tap1"),
            {"type": "bridge", "source/@bridge": "br-int", "target/@dev": "tap1"},
        ),
        (
            vif("ovs"),
            {
                "type": "bridge",
                "virtualport/@type": "openvswitch",
                "virtualport/parameters/@interfaceid": UUID,
            },
        ),
        (vif("tap", devname="tap1"), {"type": "ethernet", "target/@managed": "no"}),
    ],
)
def test_every_kind_of_port_is_valid(port: Json, expected: dict[str, str]) -> None:
    interface = valid(spec(ports=(port,))).find("devices/interface")
    assert interface.find("mac").get("address") == port["address"]
    for path, value in expected.items():
        found = interface.xpath(path if "@" in path else f"@{path}")
        assert [str(f) for f in found] == [value]


def test_an_mtu_is_passed_on() -> None:
    port = vif("bridge")
    port["network"]["mtu"] = 1450
    assert valid(spec(ports=(port,))).find("devices/interface/mtu").get("size") == "1450"


def test_an_unknown_kind_of_port_is_refused_with_those_there_are() -> None:
    with pytest.raises(Refused, match="user, network, bridge, ovs, tap"):
        domain_xml(spec(ports=(vif("hw_veb"),)), DAEMON)


@given(st.text(max_size=80))
def test_a_name_is_accepted_only_if_everyone_can_carry_it(name: str) -> None:
    try:
        check_name(name)
    except BadInput:
        return
    assert 1 <= len(name) <= 63
    assert name.isascii()
    assert "/" not in name
    assert ".." not in name
    assert name[0].isalnum()


@pytest.mark.parametrize(
    ("portal", "expected"),
    [
        ("10.0.0.1:3260", ("10.0.0.1", 3260)),
        ("10.0.0.1", ("10.0.0.1", 3260)),
        ("[fd00::1]:3261", ("fd00::1", 3261)),
        ("[fd00::1]", ("fd00::1", 3260)),
        ("host.example:860", ("host.example", 860)),
    ],
)
def test_portals(portal: str, expected: tuple[str, int]) -> None:
    assert split_portal(portal) == expected
