"""Reservations and the choice of an address."""

import ipaddress
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildflow.drivers.libvirt.dhcp import Reservation, reservation_name, subnet

KEY = "0f8fad5b-d9cb-469f-a165-70867728950e"
NETWORK = """<network><name>lan</name><bridge name='virbr9'/>
<ip family='ipv6' address='fd00::1' prefix='64'/>
<ip address='10.7.0.1' netmask='255.255.255.0'><dhcp>
  <range start='10.7.0.10' end='10.7.0.12'/><range start='10.7.0.20' end='10.7.0.20'/>
  {hosts}</dhcp></ip></network>"""


def lan(*hosts: str) -> str:
    return NETWORK.format(hosts="".join(hosts))


@given(st.uuids(), st.text(max_size=80))
def test_a_reservation_is_found_again_by_its_key(key: uuid.UUID, hostname: str) -> None:
    name = reservation_name(hostname, str(key))
    assert len(name) <= 63
    assert Reservation("52:54:00:00:00:01", "10.7.0.10", name).key == str(key)


@pytest.mark.parametrize("name", ["", "web", "web-bf-xyz", "bf-" + "0" * 32])
def test_a_reservation_that_is_not_ours_has_no_key(name: str) -> None:
    assert Reservation("m", "i", name).key is None


def test_addresses_come_from_the_ranges_each_once() -> None:
    net = subnet(lan())
    assert net is not None
    assert str(net.network) == "10.7.0.0/24"
    found = [str(a) for a in net.candidates(KEY, set())]
    assert sorted(found) == ["10.7.0.10", "10.7.0.11", "10.7.0.12", "10.7.0.20"]


def test_what_is_reserved_or_taken_is_not_given_again() -> None:
    host = Reservation("52:54:00:00:00:01", "10.7.0.10", reservation_name("web", KEY))
    net = subnet(lan(host.xml))
    assert net is not None
    assert net.find(KEY) == host
    assert net.find(str(uuid.uuid4())) is None
    free = {str(a) for a in net.candidates(KEY, {ipaddress.IPv4Address("10.7.0.20")})}
    assert free == {"10.7.0.11", "10.7.0.12"}


def test_builders_begin_at_places_of_their_own() -> None:
    net = subnet(
        "<network><ip address='10.7.0.1' prefix='16'><dhcp>"
        "<range start='10.7.1.0' end='10.7.200.0'/></dhcp></ip></network>"
    )
    assert net is not None
    firsts = {next(net.candidates(str(uuid.uuid4()), set())) for _ in range(50)}
    assert len(firsts) > 45


@pytest.mark.parametrize(
    "xml",
    [
        "<network><forward mode='bridge'/><bridge name='br0'/></network>",
        "<network><ip address='10.0.0.1' prefix='24'/></network>",
        "<network><ip family='ipv6' address='fd00::1' prefix='64'><dhcp/></ip></network>",
    ],
)
def test_a_network_without_addresses_to_give_has_no_subnet(xml: str) -> None:
    assert subnet(xml) is None
