"""User-mode networking and host bridges."""

from pathlib import Path

import pytest

from buildflow.drivers import user_network
from buildflow.drivers.network_choice import NetworkChoice
from buildflow.drivers.protocols import PortRequest
from buildflow.drivers.user_network import UserNetworkDriver
from buildflow.errors import BadInput, Conflict, DriverError, NotFound


@pytest.fixture
def driver(tmp_path: Path) -> UserNetworkDriver:
    return UserNetworkDriver(tmp_path / "ports")


@pytest.fixture
def bridged(
    driver: UserNetworkDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> UserNetworkDriver:
    """The same, on a host that has the bridge br0 and the plain device eth0."""
    (tmp_path / "net" / "br0" / "bridge").mkdir(parents=True)
    (tmp_path / "net" / "eth0").mkdir()
    monkeypatch.setattr(user_network, "_DEVICES", tmp_path / "net")
    return driver


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (PortRequest("lan"), NotFound),
        (PortRequest(None, port_id="x"), NotFound),
        (PortRequest("user", fixed_ip="10.0.2.16"), BadInput),
        (PortRequest("user", mac="no"), BadInput),
        (PortRequest("bridge:"), NotFound),
        (PortRequest("bridge:no-such0"), NotFound),
        (PortRequest("bridge:../../etc"), NotFound),
        (PortRequest("bridge:lo"), NotFound),
    ],
)
def test_what_cannot_be_had_is_refused(
    driver: UserNetworkDriver, request_: PortRequest, error: type[Exception]
) -> None:
    with pytest.raises(error):
        driver.validate(request_)


def test_the_entry_says_what_every_guest_gets(driver: UserNetworkDriver) -> None:
    port = driver.create_port("key", "instance", "web", PortRequest("user"))
    assert port["type"] == "user"
    (subnet,) = port["network"]["subnets"]
    assert subnet["ips"] == [{"address": "10.0.2.15", "type": "fixed"}]
    driver.validate(PortRequest("user", fixed_ip="10.0.2.15"))


def test_a_mac_asked_for_is_given(driver: UserNetworkDriver) -> None:
    request = PortRequest("user", mac="52:54:00:AB:CD:EF")
    assert driver.create_port("key", "i", "web", request)["address"] == "52:54:00:ab:cd:ef"


def test_a_port_on_a_bridge(bridged: UserNetworkDriver) -> None:
    request = PortRequest("bridge:br0")
    bridged.validate(request)
    port = bridged.create_port("key", "instance", "web", request)
    assert (port["type"], port["network"]["bridge"]) == ("bridge", "br0")
    assert port["network"]["subnets"] == []
    with pytest.raises(NotFound, match="no bridge"):
        bridged.validate(PortRequest("bridge:eth0"))
    with pytest.raises(BadInput, match="cannot be promised"):
        bridged.validate(PortRequest("bridge:br0", fixed_ip="10.1.1.1"))


def test_the_same_mac_twice_on_bridges_is_a_conflict(bridged: UserNetworkDriver) -> None:
    request = PortRequest("bridge:br0", mac="52:54:00:00:00:01")
    bridged.validate(request)
    bridged.create_port("key", "instance", "web", request)
    with pytest.raises(Conflict):
        bridged.validate(request)


def test_a_full_disk_is_the_worlds_fault(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DriverError, match="cannot note port"):
        UserNetworkDriver(tmp_path / "file").create_port("k", "i", "web", PortRequest("user"))


def test_beside_another_driver_each_port_goes_to_its_own(tmp_path: Path) -> None:
    user, other = UserNetworkDriver(tmp_path / "a"), UserNetworkDriver(tmp_path / "b")
    other.name = "other"
    choice = NetworkChoice(user, other)
    assert choice.name == "other"
    port = choice.create_port("key", "instance", "web", PortRequest("user"))
    assert [thing.key for thing in user.inventory()] == ["key"]
    assert [thing.key for thing in other.inventory()] == []
    assert choice.find_binding("binding", port, "host") == port
    foreign = {**port, "network": {**port["network"], "id": "lan"}}
    assert choice.find_binding("binding", foreign, "host") is None
    choice.delete_port("key", port)
    assert list(choice.inventory()) == []
    with pytest.raises(NotFound):
        choice.validate(PortRequest("lan"))
