"""Ports on real libvirt networks, and guests that get their addresses there."""

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import libvirt
import pytest

from buildflow.config import Settings
from buildflow.drivers.protocols import ComputeDriver, Image, NetworkDriver, PortRequest
from buildflow.drivers.registry import open_driver
from buildflow.errors import BadInput, Conflict, Exhausted, NotFound
from tests.drivers.libvirt.guests import Guest, open_guest
from tests.lab.directories import open_directory
from tests.lab.guest import GuestImages
from tests.lab.libvirt import LabNetwork, PrivateLibvirtd

pytestmark = [pytest.mark.libvirt, pytest.mark.root]


@pytest.fixture
def home() -> Iterator[Path]:
    with open_directory("bf-home-") as home:
        yield home


@pytest.fixture
def settings(libvirtd: PrivateLibvirtd, home: Path) -> Settings:
    return Settings(home=home, connect=libvirtd.uri)


@pytest.fixture
def networks(settings: Settings) -> Iterator[NetworkDriver]:
    driver = open_driver("network", settings)
    before = list(driver.inventory())
    yield driver
    assert list(driver.inventory()) == before
    driver.close()


@pytest.fixture
def compute(settings: Settings) -> Iterator[ComputeDriver]:
    driver = open_driver("compute", settings)
    before = things(driver)
    yield driver
    assert things(driver) == before
    driver.close()


def things(driver: ComputeDriver) -> set[tuple[str, str]]:
    """What the driver sees, without QEMUs of other hypervisors."""
    return {(thing.kind, thing.id) for thing in driver.inventory() if thing.kind != "process"}


@pytest.fixture
def image(guest_images: GuestImages) -> Image:
    return open_driver("image", Settings()).fetch(str(guest_images.qcow2), lambda _s: None)


def key() -> str:
    return str(uuid.uuid4())


def by_hand(libvirtd: PrivateLibvirtd, name: str) -> Any:
    return libvirt.open(libvirtd.uri).networkLookupByName(name)


def ip_of(port: Any) -> str:
    return str(port["network"]["subnets"][0]["ips"][0]["address"])


def wait_for_addresses(compute: ComputeDriver, guest: Guest, port: Any) -> list[str]:
    deadline = time.monotonic() + 150
    while not (found := compute.addresses(guest.uuid, [port], time.sleep)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def test_a_guest_gets_the_address_that_its_port_was_given(
    compute: ComputeDriver, networks: NetworkDriver, image: Image, lab_network: LabNetwork
) -> None:
    port_key = key()
    port = networks.create_port(port_key, key(), "web", PortRequest(lab_network.name))
    with open_guest(lambda: Guest(compute, image, ports=[port])) as guest:
        guest.start()
        assert wait_for_addresses(compute, guest, port) == [ip_of(port)]
        assert f"ip={ip_of(port)}".encode() in guest.wait_for()
        assert [t.kind for t in compute.inventory() if t.key == guest.uuid].count(
            "network_port"
        ) == 1
    networks.delete_port(port_key, port)


def test_an_address_and_a_mac_asked_for_are_given(
    compute: ComputeDriver, networks: NetworkDriver, image: Image, lab_network: LabNetwork
) -> None:
    wanted = PortRequest(lab_network.name, lab_network.address(7), "52:54:00:12:34:56")
    networks.validate(wanted)
    port_key = key()
    port = networks.create_port(port_key, key(), "web", wanted)
    assert (ip_of(port), port["address"]) == (wanted.fixed_ip, wanted.mac)
    with pytest.raises(Conflict):
        networks.validate(wanted)
    with pytest.raises(Conflict):
        networks.create_port(key(), key(), "web", PortRequest(lab_network.name, wanted.fixed_ip))
    with open_guest(lambda: Guest(compute, image, ports=[port])) as guest:
        guest.start()
        assert wait_for_addresses(compute, guest, port) == [wanted.fixed_ip]
    networks.delete_port(port_key, port)

    # a second guest with the same MAC sees the first one's lease stand there, and is not fooled
    again = PortRequest(lab_network.name, mac=wanted.mac)
    port = networks.create_port(port_key, key(), "web", again)
    assert port["details"]["leases_before"]
    with open_guest(lambda: Guest(compute, image, ports=[port])) as guest:
        assert compute.addresses(guest.uuid, [port], time.sleep) == []
        guest.start()
        assert wait_for_addresses(compute, guest, port) == [ip_of(port)]
    networks.delete_port(port_key, port)


def test_a_mac_in_use_by_any_domain_is_a_conflict(
    compute: ComputeDriver, networks: NetworkDriver, image: Image, lab_network: LabNetwork
) -> None:
    port_key = key()
    request = PortRequest(lab_network.name, mac="52:54:00:aa:bb:cc")
    port = networks.create_port(port_key, key(), "web", request)
    with open_guest(lambda: Guest(compute, image, ports=[port])) as guest:
        guest.driver.define_domain(guest.uuid, guest.xml)
        networks.delete_port(port_key, port)
        with pytest.raises(Conflict, match=guest.name):
            networks.validate(request)


@pytest.mark.parametrize(
    ("wanted", "error"),
    [("10.0.0.1", BadInput), ("no", BadInput), ("gateway", Conflict), ("broadcast", BadInput)],
)
def test_an_address_that_cannot_be_is_refused(
    networks: NetworkDriver, lab_network: LabNetwork, wanted: str, error: type[Exception]
) -> None:
    known = {"gateway": lab_network.gateway, "broadcast": str(lab_network.subnet[255])}
    with pytest.raises(error):
        networks.validate(PortRequest(lab_network.name, known.get(wanted, wanted)))


def test_an_unknown_network_names_those_there_are(
    networks: NetworkDriver, lab_network: LabNetwork
) -> None:
    with pytest.raises(NotFound, match=lab_network.name):
        networks.validate(PortRequest("no-such"))
    networks.validate(PortRequest(lab_network.uuid))


def test_a_network_that_is_not_active_is_refused_with_the_cure(
    networks: NetworkDriver, libvirtd: PrivateLibvirtd
) -> None:
    planned = libvirtd.plan_network("asleep")
    network = libvirt.open(libvirtd.uri).networkDefineXML(planned.xml)
    try:
        with pytest.raises(Conflict, match="net-start asleep"):
            networks.validate(PortRequest("asleep"))
    finally:
        network.undefine()


def test_a_network_on_a_bridge_that_is_missing_is_refused(
    networks: NetworkDriver, libvirtd: PrivateLibvirtd
) -> None:
    xml = (
        "<network><name>bridged</name><forward mode='bridge'/><bridge name='no-such-br'/></network>"
    )
    network = libvirt.open(libvirtd.uri).networkDefineXML(xml)
    network.create()
    try:
        with pytest.raises(NotFound, match="no-such-br"):
            networks.validate(PortRequest("bridged"))
        # and without addresses to give, a port is its MAC
        port_key = key()
        port = networks.create_port(port_key, "instance", "web", PortRequest("bridged"))
        assert port["network"]["subnets"] == []
        assert networks.find_port(port_key, PortRequest("bridged")) == port
        networks.delete_port(port_key, port)
    finally:
        network.destroy()
        network.undefine()


def test_a_network_that_runs_out_of_addresses_says_so(
    networks: NetworkDriver, libvirtd: PrivateLibvirtd
) -> None:
    planned = libvirtd.plan_network("tiny")
    xml = planned.xml.replace(str(planned.subnet[250]), str(planned.subnet[130]))
    network = libvirt.open(libvirtd.uri).networkDefineXML(xml)
    network.create()
    request = PortRequest("tiny")
    made = {}
    try:
        with ThreadPoolExecutor(3) as pool:  # at once, and nobody gets another's
            keys = [key() for _ in range(3)]
            ports = pool.map(lambda k: networks.create_port(k, key(), "web", request), keys)
            made = dict(zip(keys, ports, strict=True))
        assert len({ip_of(port) for port in made.values()}) == 3
        with pytest.raises(Exhausted, match="no free address"):
            networks.create_port(key(), key(), "web", request)
    finally:
        for port_key, port in made.items():
            networks.delete_port(port_key, port)
        assert "<host" not in network.XMLDesc(0)
        assert "<host" not in network.XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE)
        network.destroy()
        network.undefine()


def test_a_port_outlives_a_restart_of_its_network_and_goes_with_it_stopped(
    networks: NetworkDriver, libvirtd: PrivateLibvirtd
) -> None:
    planned = libvirtd.create_network("restarted")
    network = by_hand(libvirtd, "restarted")
    port_key, request = key(), PortRequest("restarted")
    port = networks.create_port(port_key, key(), "web", request)
    network.destroy()
    assert networks.find_port(port_key, request) is not None
    network.create()
    found = networks.find_port(port_key, request)
    assert found is not None
    assert ip_of(found) == ip_of(port)
    network.destroy()
    networks.delete_port(port_key, port)
    assert networks.find_port(port_key, request) is None
    network.undefine()
    assert networks.find_port(port_key, request) is None
    networks.delete_port(port_key, port)
    assert planned.name == "restarted"


def test_strays_carry_their_key_and_the_users_own_reservations_are_not_ours(
    networks: NetworkDriver, libvirtd: PrivateLibvirtd, lab_network: LabNetwork
) -> None:
    network = by_hand(libvirtd, lab_network.name)
    own = f"<host mac='52:54:00:00:00:77' name='printer' ip='{lab_network.address(9)}'/>"
    add, remove = (
        libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST,
        libvirt.VIR_NETWORK_UPDATE_COMMAND_DELETE,
    )
    section = libvirt.VIR_NETWORK_SECTION_IP_DHCP_HOST
    flags = libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE
    before = list(networks.inventory())
    network.update(add, section, -1, own, flags)
    port_key = key()
    port = networks.create_port(port_key, key(), "web", PortRequest(lab_network.name))
    try:
        (stray,) = (thing for thing in networks.inventory() if thing not in before)
        assert (stray.kind, stray.key) == ("port", port_key)
        assert stray.detail["ip"] == ip_of(port)
    finally:
        networks.delete_port(port_key, port)
        network.update(remove, section, -1, own, flags)


def test_user_mode_is_there_beside_the_networks(networks: NetworkDriver) -> None:
    port_key = key()
    port = networks.create_port(port_key, key(), "web", PortRequest("user"))
    assert port["type"] == "user"
    assert port_key in {thing.key for thing in networks.inventory()}
    networks.delete_port(port_key, port)
