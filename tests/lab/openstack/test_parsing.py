"""The lab's own small protocols: what tgtadm prints, and DHCP."""

import ipaddress
import sqlite3
import struct
from pathlib import Path

import pytest

from tests.lab.openstack.dhcp import NeutronPorts, answer
from tests.lab.openstack.tgt import Session, Target, parse_targets

SUBNET = ipaddress.IPv4Network("10.1.2.0/24")
MAC = "fa:16:3e:00:00:01"
LISTED = """\
Target 1: iqn.2026-11.lab.buildflow:volume-6e0c
    System information:
        Driver: iscsi
        State: ready
    I_T nexus information:
        I_T nexus: 3
            Initiator: iqn.1993-08.org.debian:01:abc alias: none
            Connection: 0
                IP Address: 127.0.0.1
    LUN information:
        LUN: 0
            Type: controller
            Backing store path: None
        LUN: 1
            Type: disk
            Backing store path: /lab/cinder/volumes/volume-6e0c
            Backing store flags:
    Account information:
        kgmLc7
    ACL information:
        ALL
Target 2: iqn.2026-11.lab.buildflow:volume-77
    Account information:
    ACL information:
        ALL
"""


def test_targets_are_read_as_tgtadm_prints_them() -> None:
    first, second = parse_targets(LISTED)
    assert first == Target(
        number=1,
        iqn="iqn.2026-11.lab.buildflow:volume-6e0c",
        files=["/lab/cinder/volumes/volume-6e0c"],
        accounts=["kgmLc7"],
        sessions=[Session("iqn.1993-08.org.debian:01:abc", ["127.0.0.1"])],
    )
    assert first.volume_id == "6e0c"
    assert second == Target(2, "iqn.2026-11.lab.buildflow:volume-77")
    assert parse_targets("") == []


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """As much of Neutron's database as DHCP reads, with one port."""
    path = tmp_path / "neutron.sqlite"
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("CREATE TABLE ports (id TEXT, mac_address TEXT)")
        connection.execute("CREATE TABLE ipallocations (port_id TEXT, ip_address TEXT)")
        connection.execute("INSERT INTO ports VALUES ('p', ?)", (MAC,))
        connection.executemany(
            "INSERT INTO ipallocations VALUES ('p', ?)", [("fd00::1",), ("10.1.2.77",)]
        )
    connection.close()
    return path


def packet(kind: int, mac: str = MAC, options: bytes = b"") -> bytes:
    hardware = bytes.fromhex(mac.replace(":", "")) + bytes(10)
    head = struct.pack("!BBBB4sHH", 1, 1, 6, 0, b"xid!", 0, 0) + bytes(16) + hardware
    return head + bytes(192) + b"\x63\x82\x53\x63" + bytes((53, 1, kind)) + options + b"\xff"


def kind_of(reply: bytes | None) -> int:
    assert reply is not None
    assert reply[240:242] == b"\x35\x01"
    return reply[242]


def test_a_port_is_offered_its_address_and_gets_it(database: Path) -> None:
    ports = NeutronPorts(str(database), SUBNET)
    offer = answer(packet(1), ports, SUBNET)
    assert kind_of(offer) == 2
    assert offer is not None
    assert offer[4:8] == b"xid!"
    assert ipaddress.ip_address(offer[16:20]) == ipaddress.ip_address("10.1.2.77")
    wanted = b"\x32\x04" + ipaddress.ip_address("10.1.2.77").packed
    assert kind_of(answer(packet(3, options=wanted), ports, SUBNET)) == 5


def test_another_address_is_refused(database: Path) -> None:
    ports = NeutronPorts(str(database), SUBNET)
    wanted = b"\x32\x04" + ipaddress.ip_address("10.1.2.78").packed
    assert kind_of(answer(packet(3, options=wanted), ports, SUBNET)) == 6


def test_strangers_and_broken_packets_get_no_answer(database: Path) -> None:
    ports = NeutronPorts(str(database), SUBNET)
    other_server = b"\x36\x04" + ipaddress.ip_address("10.1.2.9").packed
    assert answer(packet(1, mac="52:54:00:00:00:01"), ports, SUBNET) is None
    assert answer(packet(3, options=other_server), ports, SUBNET) is None
    assert answer(packet(7), ports, SUBNET) is None
    assert answer(b"", ports, SUBNET) is None
    assert answer(packet(1)[:200], ports, SUBNET) is None
