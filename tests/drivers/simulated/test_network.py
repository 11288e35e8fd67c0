"""How a simulated Neutron refuses, and what it hands out."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

import pytest

from buildflow.drivers.protocols import PortRequest
from buildflow.drivers.simulated import SimulatedWorld, drivers_of
from buildflow.drivers.world import World
from buildflow.engine.clock import VirtualClock
from buildflow.errors import (
    BadInput,
    BindingFailed,
    Conflict,
    HostUnusable,
    NoAddressLeft,
    NotFound,
    QuotaUsedUp,
    Refused,
)
from tests.drivers.simulated.one_build import OneBuild

Builds = Callable[..., OneBuild]
DEFAULT = PortRequest(None)


def address_of(port: dict[str, object]) -> str:
    return str(port["network"]["subnets"][0]["ips"][0]["address"])  # type: ignore[index]


def test_a_port_has_an_address_of_its_network_and_a_mac_of_its_own(drivers: World) -> None:
    ports = [drivers.network.create_port(f"k{n}", "i", "h", DEFAULT) for n in range(50)]
    addresses = {ipaddress.ip_address(address_of(port)) for port in ports}
    assert len(addresses) == len({port["address"] for port in ports}) == 50
    assert all(address in ipaddress.ip_network("10.20.0.0/16") for address in addresses)
    assert ports[0]["network"]["subnets"][0]["gateway"] == "10.20.0.1"
    assert ports[0]["type"] == "tap"


def test_the_same_key_gives_the_same_port_in_every_world() -> None:
    entries = []
    for _ in range(2):
        world = SimulatedWorld()
        entries.append(drivers_of(world).network.create_port("key", "i", "h", DEFAULT))
    assert entries[0] == entries[1]


def test_a_taken_address_is_a_conflict(drivers: World) -> None:
    request = PortRequest("default", fixed_ip="10.20.3.4")
    drivers.network.validate(request)
    assert address_of(drivers.network.create_port("a", "i", "h", request)) == "10.20.3.4"
    for call in (
        lambda: drivers.network.validate(request),
        lambda: drivers.network.create_port("b", "j", "h", request),
    ):
        with pytest.raises(Conflict):
            call()
    assert drivers.network.find_port("b", request) is None
    drivers.network.delete_port("a", {"id": drivers.network.find_port("a", request)["id"]})  # type: ignore[index]
    drivers.network.create_port("b", "j", "h", request)


def test_a_taken_mac_is_a_conflict(drivers: World) -> None:
    request = PortRequest("default", mac="52:54:00:12:34:56")
    drivers.network.create_port("a", "i", "h", request)
    with pytest.raises(Conflict):
        drivers.network.validate(request)


@pytest.mark.parametrize(
    "request_", [
        PortRequest("default", fixed_ip="192.0.2.1"),
        PortRequest("default", fixed_ip="10.20.0.0"),
        PortRequest("default", fixed_ip="10.20.255.255"),
        PortRequest("default", fixed_ip="here"),
        PortRequest("default", mac="01:00:00:00:00:01"),
    ],
)  # fmt: skip
def test_bad_addresses_are_refused(drivers: World, request_: PortRequest) -> None:
    with pytest.raises(BadInput):
        drivers.network.validate(request_)


def test_a_full_subnet(world: SimulatedWorld, drivers: World) -> None:
    world.add_network("small", "10.7.0.0/29")  # 8, without its own, the gateway's and the last
    request = PortRequest("small")
    ports = [drivers.network.create_port(f"k{n}", "i", "h", request) for n in range(5)]
    assert {address_of(port) for port in ports} == {f"10.7.0.{n}" for n in range(2, 7)}
    with pytest.raises(NoAddressLeft) as caught:
        drivers.network.create_port("one-more", "i", "h", request)
    assert caught.value.code == 409
    drivers.network.delete_port("k3", ports[3])
    assert address_of(drivers.network.create_port("k9", "i", "h", request)) == address_of(ports[3])


def test_a_quota_that_is_used_up(world: SimulatedWorld, drivers: World) -> None:
    world.configure(port_quota=1)
    drivers.network.create_port("a", "i", "h", DEFAULT)
    with pytest.raises(QuotaUsedUp):
        drivers.network.create_port("b", "i", "h", DEFAULT)


class TestBinding:
    def test_a_host_that_cannot_be_bound(self, drivers: World) -> None:
        port = drivers.network.create_port("a", "i", "h", DEFAULT)
        with pytest.raises(BindingFailed):
            drivers.network.bind_port("b", port, "nobind-1")
        assert drivers.network.find_binding("b", port, "nobind-1") is None
        drivers.network.bind_port("b", port, "sim1")

    def test_without_the_right_to(self, world: SimulatedWorld, drivers: World) -> None:
        port = drivers.network.create_port("a", "i", "h", DEFAULT)
        world.configure(network_admin=False)
        with pytest.raises(Refused) as caught:
            drivers.network.bind_port("b", port, "sim1")
        assert caught.value.code == 403
        for call in (drivers.network.check, lambda: drivers.network.validate(DEFAULT)):
            with pytest.raises(HostUnusable):
                call()

    def test_to_another_host_takes_it_from_the_first(self, drivers: World) -> None:
        port = drivers.network.create_port("a", "i", "h", DEFAULT)
        drivers.network.bind_port("b", port, "sim1")
        drivers.network.bind_port("c", port, "sim2")
        assert drivers.network.find_binding("b", port, "sim1") is None
        drivers.network.unbind_port("b", port, "sim1")
        assert drivers.network.find_binding("c", port, "sim2") is not None

    def test_of_a_port_that_is_gone(self, world: SimulatedWorld, drivers: World) -> None:
        port = drivers.network.create_port("a", "i", "h", DEFAULT)
        assert world.remove_port_by_hand(port["id"])
        with pytest.raises(NotFound):
            drivers.network.bind_port("b", port, "sim1")
        with pytest.raises(NotFound):
            drivers.network.port_active(port)
        drivers.network.unbind_port("b", port, "sim1")
        drivers.network.delete_port("a", port)

    def test_it_is_active_after_a_while_or_never(
        self, world: SimulatedWorld, drivers: World, clock: VirtualClock
    ) -> None:
        world.configure(port_seconds=4)
        clock.sleep(100)
        port = drivers.network.create_port("a", "i", "h", DEFAULT)
        assert not drivers.network.port_active(port)
        port = drivers.network.bind_port("b", port, "sim1")
        assert not drivers.network.port_active(port)
        clock.sleep(4)
        assert drivers.network.port_active(port)
        world.configure(port_seconds=None)
        assert not drivers.network.port_active(port)


class TestOwnPort:
    """A port of the user's: taken, bound, let go, never deleted."""

    def test_it_is_taken_and_let_go(self, world: SimulatedWorld, drivers: World) -> None:
        own = world.add_port(fixed_ip="10.20.9.9")
        before = world.snapshot()
        request = PortRequest(None, port_id=own)
        drivers.network.validate(request)
        assert drivers.network.find_port("key", request) is None
        port = drivers.network.create_port("key", "instance", "h", request)
        assert (port["id"], port["preexisting"], address_of(port)) == (own, True, "10.20.9.9")
        assert drivers.network.find_port("key", request) == port
        drivers.network.bind_port("b", port, "sim1")
        with pytest.raises(Conflict):
            drivers.network.validate(request)
        with pytest.raises(Conflict):
            drivers.network.create_port("other", "other", "h", request)
        drivers.network.delete_port("key", port)
        assert world.snapshot() == before

    def test_another_one_s_key_lets_nothing_go(self, world: SimulatedWorld, drivers: World) -> None:
        request = PortRequest(None, port_id=world.add_port())
        port = drivers.network.create_port("key", "instance", "h", request)
        drivers.network.delete_port("stale", port)
        assert drivers.network.find_port("key", request) is not None

    def test_what_it_has_not_is_refused(self, world: SimulatedWorld, drivers: World) -> None:
        own = world.add_port(fixed_ip="10.20.9.9")
        with pytest.raises(BadInput):
            drivers.network.validate(PortRequest(None, port_id=own, fixed_ip="10.20.9.8"))
        with pytest.raises(BadInput):
            drivers.network.validate(PortRequest(None, port_id=own, mac="52:54:00:00:00:01"))
        with pytest.raises(NotFound):
            drivers.network.validate(PortRequest(None, port_id="none"))


def test_guests_in_user_mode_all_have_the_same_address(drivers: World) -> None:
    ports = [drivers.network.create_port(f"k{n}", "i", "h", PortRequest("user")) for n in range(3)]
    assert {address_of(port) for port in ports} == {"10.0.2.15"}
    assert {port["devname"] for port in ports} == {None}
    drivers.network.delete_port("k0", ports[0])
    assert drivers.network.find_port("k1", PortRequest("user")) == ports[1]
