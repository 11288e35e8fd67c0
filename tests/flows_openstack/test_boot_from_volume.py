"""A machine from a real Cinder volume over iSCSI with CHAP, with a real Neutron port."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.flows_openstack.bed import READY, Bed, command_lines, files_below
from tests.lab.openstack import NETWORK


def test_it_boots_answers_at_its_address_and_goes_again(bed: Bed, guest_image: str) -> None:
    volume_id = bed.boot_volume(guest_image)
    engine = bed.engine()
    row = bed.build(engine=engine, boot_volume={"id": volume_id}, wait=READY)
    bed.is_up(row)

    [vif] = row["network_info"]
    address = vif["network"]["subnets"][0]["ips"][0]["address"]
    [console] = bed.home.glob("instances/*/console.log")
    said = console.read_text(errors="replace")
    assert f"ip={address}" in said  # by DHCP over the bridge, from Neutron's own record
    assert re.search(rf"disks=vda.*{volume_id[:8]}|vda={volume_id[:8]}", said)
    [target] = [t for t in bed.lab.tgt.targets() if t.volume_id == volume_id]
    assert len(target.sessions) == 1

    info = row["block_device_info"]
    [mapping] = info["block_device_mapping"]
    assert info["root_device_name"] == mapping["mount_device"] == "vda"
    assert mapping["boot_index"] == 0
    assert set(mapping) == {
        "guest_format", "boot_index", "mount_device", "connection_info", "disk_bus",
        "device_type", "delete_on_termination",
    }  # fmt: skip

    engine.delete(row["id"]).wait(60)
    after = engine.show(row["id"])
    assert after["vm_state"] == "deleted"
    bed.nothing_is_left(after)


def test_the_password_is_nowhere(bed: Bed, guest_image: str) -> None:
    volume_id = bed.boot_volume(guest_image)
    row = bed.build(boot_volume={"id": volume_id})
    bed.is_up(row)
    [attached] = bed.witness.attachments(volume_id)
    password = attached["connection_info"]["auth_password"]
    assert password
    assert password not in json.dumps(row)
    assert not any(password in line for line in command_lines())
    for name in files_below(bed.home):
        path = bed.home / name
        if path.is_file():
            assert password.encode() not in path.read_bytes(), name
    xml = Path(bed.settings.libvirt_uri.partition("root=")[2])
    for path in xml.rglob("*.xml"):
        assert password not in path.read_text(errors="replace"), path


def test_from_an_image_of_glance_with_a_volume_beside_it(bed: Bed, guest_image: str) -> None:
    data = bed.blank_volume()
    row = bed.build(image=guest_image, volumes=[{"id": data}], wait=READY)
    bed.is_up(row)
    info = row["block_device_info"]
    assert info["root_device_name"] == "/dev/vda"
    assert [m["mount_device"] for m in info["block_device_mapping"]] == ["/dev/vdb"]
    engine = bed.engines[-1]
    engine.delete(row["id"]).wait(60)
    bed.nothing_is_left(engine.show(row["id"]))


def test_a_volume_made_from_an_image_boots(bed: Bed, guest_image: str) -> None:
    made = {"image_id": guest_image, "size": 1, "delete_on_termination": True}
    row = bed.build(boot_volume=made, wait=READY)
    bed.is_up(row)
    engine = bed.engines[-1]
    engine.delete(row["id"]).wait(60)
    bed.nothing_is_left(engine.show(row["id"]))


def test_several_volumes_and_nics(bed: Bed, guest_image: str) -> None:
    volumes = [{"id": bed.blank_volume()} for _ in range(2)]
    row = bed.build(
        boot_volume={"id": bed.boot_volume(guest_image)},
        volumes=volumes,
        networks=[{"network": NETWORK}, {"network": NETWORK}],
        wait=READY,
    )
    bed.is_up(row)
    mapping = row["block_device_info"]["block_device_mapping"]
    assert [m["mount_device"] for m in mapping] == ["vda", "vdb", "vdc"]
    assert [m["boot_index"] for m in mapping] == [0, None, None]
    assert len({vif["address"] for vif in row["network_info"]}) == 2


def test_no_network_at_all(bed: Bed) -> None:
    row = bed.build(networks=[], no_network=True)
    bed.is_up(row)
    assert row["network_info"] == []
    assert bed.witness.ports() == []


def test_a_read_only_volume_is_read_only_in_the_guest(bed: Bed, guest_image: str) -> None:
    flagged, asked = bed.blank_volume(), bed.blank_volume()
    flag = {"os-update_readonly_flag": {"readonly": True}}
    bed.witness.cinder("POST", f"/volumes/{flagged}/action", flag)
    row = bed.build(
        image=guest_image, volumes=[{"id": flagged}, {"id": asked, "read_only": True}, {"size": 1}]
    )
    bed.is_up(row)
    modes = [
        mapping["connection_info"]["data"]["access_mode"]
        for mapping in row["block_device_info"]["block_device_mapping"]
    ]
    assert modes == ["ro", "ro", "rw"]
    [line] = [line for line in command_lines() if row["id"] in line]
    disks = [argument for argument in line.split(" -blockdev ") if "iscsi" in argument]
    assert ['"read-only": true' in disk for disk in disks] == [True, True, False]
