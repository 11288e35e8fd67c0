"""The OpenStack lab: real services, faults that strike as told, a network that carries guests."""

import http.client
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openstack.exceptions
import pytest
from keystoneauth1.exceptions import ConnectFailure

from tests.lab.directories import open_directory
from tests.lab.guest import MARKER, GuestImages, whole_line
from tests.lab.openstack import NETWORK, Fault, OpenStackLab

pytestmark = pytest.mark.openstack

LOST = (ConnectFailure, openstack.exceptions.SDKException)

CONNECTOR = {
    "initiator": "iqn.1993-08.org.debian:01:lab",
    "host": "lab-host",
    "ip": "127.0.0.1",
    "platform": "x86_64",
    "os_type": "linux",
    "multipath": False,
}


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)


@pytest.fixture
def volume(openstack_lab: OpenStackLab) -> Iterator[Any]:
    """A blank volume of 1 GiB, removed whatever state it is in."""
    cloud = openstack_lab.connect("labadmin")
    made = cloud.block_storage.create_volume(size=1, name="lab-test")
    made = cloud.block_storage.wait_for_status(made, "available", interval=0.1, wait=30)
    yield made
    openstack_lab.restore()
    for attachment in cloud.block_storage.attachments():
        if attachment.volume_id == made.id:
            openstack_lab.connect("labadmin").block_storage.delete_attachment(attachment)
    cloud.block_storage.reset_volume_status(made, "available", "detached")
    cloud.block_storage.delete_volume(made)
    until(lambda: all(each.id != made.id for each in cloud.block_storage.volumes()))


@pytest.fixture
def attachment(openstack_lab: OpenStackLab, volume: Any) -> Any:
    """An attachment without an instance, which a plain tenant may delete."""
    cloud = openstack_lab.connect()
    return cloud.block_storage.create_attachment(volume.id, connector=CONNECTOR)


@pytest.fixture
def port(openstack_lab: OpenStackLab) -> Iterator[Callable[..., Any]]:
    """Makes ports on the lab's network and deletes them afterwards."""
    cloud = openstack_lab.connect("labadmin")
    network = cloud.network.find_network(NETWORK)
    made: list[Any] = []

    def make(**fields: Any) -> Any:
        made.append(cloud.network.create_port(network_id=network.id, **fields))
        return made[-1]

    yield make
    openstack_lab.restore()
    for each in made:
        cloud.network.delete_port(each)


def test_a_volume_is_exported_with_chap_while_it_is_attached(
    openstack_lab: OpenStackLab, volume: Any, attachment: Any
) -> None:
    target = openstack_lab.tgt.target_of(volume.id)
    assert target is not None
    info = attachment.connection_info
    assert info["target_iqn"] == target.iqn
    assert info["target_portal"] == f"127.0.0.1:{openstack_lab.ports.iscsi}"
    assert target.accounts == [info["auth_username"]]
    assert target.sessions == []
    assert Path(target.files[0]).stat().st_size == 1 << 30
    assert info["auth_username"] in openstack_lab.tgt.accounts()

    openstack_lab.connect().block_storage.delete_attachment(attachment)
    assert openstack_lab.tgt.target_of(volume.id) is None
    assert info["auth_username"] not in openstack_lab.tgt.accounts()


def read_over_iscsi(info: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Have QEMU's initiator log in and read the volume's size."""
    url = (
        f"iscsi://{info['auth_username']}%{info['auth_password']}@{info['target_portal']}"
        f"/{info['target_iqn']}/{info['target_lun']}"
    )
    command = ["qemu-img", "info", "--output=json", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_an_initiator_reads_the_volume_until_its_password_is_changed(
    openstack_lab: OpenStackLab, volume: Any, attachment: Any
) -> None:
    info = attachment.connection_info
    assert f'"virtual-size": {1 << 30}' in read_over_iscsi(info).stdout
    openstack_lab.tgt.change_password(volume.id, "another-password")
    refused = read_over_iscsi(info)
    assert refused.returncode != 0
    assert "Authentication" in refused.stderr or "login" in refused.stderr.lower()


def test_a_killed_tgtd_has_no_exports_until_cinder_starts_again(
    openstack_lab: OpenStackLab, volume: Any, attachment: Any
) -> None:
    openstack_lab.connect().block_storage.complete_attachment(attachment)
    openstack_lab.tgt.kill9()
    openstack_lab.tgt.start()
    assert openstack_lab.tgt.targets() == []
    openstack_lab.stop_service("cinder")
    openstack_lab.start_service("cinder")
    until(lambda: openstack_lab.tgt.target_of(volume.id) is not None)
    # Cinder makes the target first, and lets initiators in as the last thing
    until(lambda: read_over_iscsi(attachment.connection_info).returncode == 0)
    assert f'"virtual-size": {1 << 30}' in read_over_iscsi(attachment.connection_info).stdout


def test_an_export_taken_away_is_gone(
    openstack_lab: OpenStackLab, volume: Any, attachment: Any
) -> None:
    openstack_lab.tgt.delete_target(volume.id)
    assert openstack_lab.tgt.target_of(volume.id) is None
    assert read_over_iscsi(attachment.connection_info).returncode != 0


def test_a_fault_strikes_as_often_as_it_was_told(openstack_lab: OpenStackLab) -> None:
    cloud = openstack_lab.connect()
    openstack_lab.faults.add(
        Fault("cinder", "GET", "/volumes", status=503, skip=1, times=2, action="status")
    )
    outcomes = []
    for _ in range(4):
        try:
            list(cloud.block_storage.volumes())
            outcomes.append("ok")
        except openstack.exceptions.HttpException as error:
            outcomes.append(str(error.status_code))
    assert outcomes == ["ok", "503", "503", "ok"]
    assert openstack_lab.faults.pending() == 0
    seen = [each for each in openstack_lab.faults.requests() if "/volumes" in each.path]
    assert [each.fault for each in seen] == [None, "status", "status", None]


@pytest.mark.parametrize("action", ["drop-after", "status-after"])
def test_an_answer_is_lost_after_cinder_has_acted(openstack_lab: OpenStackLab, action: Any) -> None:
    cloud = openstack_lab.connect()
    name = f"lost-{uuid.uuid4().hex}"
    list(cloud.block_storage.volumes())
    openstack_lab.faults.add(Fault("cinder", "POST", r"/volumes$", action=action))
    with pytest.raises(LOST):
        cloud.block_storage.create_volume(size=1, name=name)
    made = list(cloud.block_storage.volumes(name=name))
    assert len(made) == 1
    cloud.block_storage.wait_for_status(made[0], "available", interval=0.1, wait=30)
    cloud.block_storage.delete_volume(made[0])
    until(lambda: not list(cloud.block_storage.volumes(name=name)))


def test_a_dropped_request_never_reached_the_service(openstack_lab: OpenStackLab) -> None:
    cloud = openstack_lab.connect()
    list(cloud.network.networks())
    openstack_lab.faults.add(
        Fault("neutron", "POST", r"/networks", body="never-made", action="drop")
    )
    with pytest.raises(ConnectFailure):
        cloud.network.create_network(name="never-made")
    assert list(cloud.network.networks(name="never-made")) == []


def test_a_service_that_is_down_breaks_connections_off_and_comes_back(
    openstack_lab: OpenStackLab,
) -> None:
    cloud = openstack_lab.connect()
    list(cloud.image.images())
    openstack_lab.kill_service("glance")
    with pytest.raises(ConnectFailure):
        list(cloud.image.images())
    openstack_lab.start_service("glance")
    list(cloud.image.images())


def test_expired_tokens_are_refused_and_a_client_gets_a_new_one(
    openstack_lab: OpenStackLab,
) -> None:
    cloud = openstack_lab.connect()
    old = cloud.auth_token

    def status(token: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", openstack_lab.ports.front("neutron"))
        connection.request("GET", "/v2.0/networks", headers={"X-Auth-Token": token})
        return connection.getresponse().status

    assert status(old) == 200
    openstack_lab.expire_tokens()
    assert status(old) == 401
    assert [each.name for each in cloud.network.networks(name=NETWORK)] == [NETWORK]
    assert cloud.auth_token != old


def test_hosts_choose_how_their_ports_are_bound(
    openstack_lab: OpenStackLab, port: Callable[..., Any]
) -> None:
    bound = port(binding_host_id="host-1")
    assert bound.binding_vif_type == "bridge"
    assert bound.binding_vif_details["bridge_name"] == openstack_lab.bridge.name
    assert bound.status == "ACTIVE"
    assert port(binding_host_id="nobind-1").binding_vif_type == "binding_failed"
    assert port(binding_host_id="vif-macvtap-1").binding_vif_type == "macvtap"
    assert port(binding_host_id="inactive-1").status == "DOWN"


def test_a_quota_holds_until_it_is_lifted(
    openstack_lab: OpenStackLab, port: Callable[..., Any]
) -> None:
    port()
    openstack_lab.set_quota(port=1)
    with pytest.raises(openstack.exceptions.ConflictException, match="Quota exceeded"):
        port()
    openstack_lab.restore()
    port()


def test_a_volume_is_made_from_a_glance_image(
    openstack_lab: OpenStackLab, guest_images: GuestImages
) -> None:
    cloud = openstack_lab.connect()
    image = openstack_lab.upload_image("lab-guest", guest_images.qcow2)
    made = cloud.block_storage.create_volume(size=1, name="from-image", image_id=image)
    made = cloud.block_storage.wait_for_status(made, "available", interval=0.1, wait=60)
    content = openstack_lab.directory / f"cinder/volumes/volume-{made.id}"
    raw = guest_images.raw.read_bytes()
    with content.open("rb") as file:
        assert file.read(len(raw)) == raw
    cloud.block_storage.delete_volume(made)
    cloud.image.delete_image(image)
    until(lambda: all(each.id != made.id for each in cloud.block_storage.volumes()))


def test_another_process_finds_the_lab(openstack_lab: OpenStackLab) -> None:
    other = OpenStackLab.attach(openstack_lab.directory)
    assert other.alive
    assert other.env == openstack_lab.env
    assert other.tgt.targets() == openstack_lab.tgt.targets()


@pytest.mark.root
@pytest.mark.libvirt
def test_a_guest_gets_its_neutron_address_over_a_real_bridge(
    openstack_lab: OpenStackLab, port: Callable[..., Any], guest_images: GuestImages
) -> None:
    bridged = port(binding_host_id="host-1")
    address = bridged.fixed_ips[0]["ip_address"]
    tap = f"tap{bridged.id[:11]}"
    begun = not openstack_lab.bridge.exists  # the tests of whole builds may have it up already
    if begun:
        openstack_lab.start_bridge()
    try:
        subprocess.run(["ip", "tuntap", "add", tap, "mode", "tap"], check=True)
        subprocess.run(
            ["ip", "link", "set", tap, "master", openstack_lab.bridge.name, "up"], check=True
        )
        with open_directory() as directory:
            console = directory / "console.log"

            def said() -> str | None:
                return whole_line(console.read_text(errors="replace"), MARKER)

            # Straight from kernel and initial file system: no disk is needed to ask for an address.
            guest = subprocess.Popen(
                [
                    "qemu-system-x86_64", "-m", "96", "-display", "none", "-no-reboot",
                    "-serial", f"file:{console}",
                    "-kernel", str(guest_images.kernel), "-initrd", str(guest_images.initrd),
                    "-append", "console=ttyS0,115200 quiet",
                    "-netdev", f"tap,id=n,ifname={tap},script=no,downscript=no",
                    "-device", f"virtio-net-pci,netdev=n,mac={bridged.mac_address}",
                ]
            )  # fmt: skip
            try:
                until(lambda: console.exists() and said() is not None)
                assert f"nic=eth0 ip={address}" in str(said())
                with socket.create_connection((address, 7), timeout=20) as greeting:
                    assert greeting.recv(100).startswith(b"hello from bf-")
            finally:
                guest.kill()
                guest.wait()
    finally:
        subprocess.run(["ip", "link", "delete", tap], check=False)
        if begun:
            openstack_lab.bridge.stop()
    assert openstack_lab.bridge.exists is not begun


@pytest.mark.slow
def test_two_labs_coexist_and_tokens_can_be_short(openstack_lab: OpenStackLab) -> None:
    with open_directory() as directory:
        with OpenStackLab(directory, bridge="br-lab-second", token_seconds=4) as second:
            assert second.ports.base != openstack_lab.ports.base
            cloud = second.connect()
            token = cloud.auth_token
            time.sleep(5)
            assert [each.name for each in cloud.network.networks()] == [NETWORK]
            assert cloud.auth_token != token
            processes = [second.tgt.server.pid]
        assert not second.alive
        assert not any(Path(f"/proc/{pid}").exists() for pid in processes)
        assert not Path(f"/sys/class/net/{second.bridge.name}").exists()
    assert openstack_lab.alive
    assert openstack_lab.clouds_yaml.exists()
