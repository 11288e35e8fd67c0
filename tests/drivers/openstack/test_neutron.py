"""Ports against real Neutron."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import uuid4

import pytest

from buildflow.config import Settings
from buildflow.drivers.openstack.neutron import OWNER, NeutronPorts
from buildflow.drivers.protocols import NetworkDriver, PortRequest
from buildflow.errors import (
    BadInput,
    BindingFailed,
    Conflict,
    DriverError,
    HostUnusable,
    NoAddressLeft,
    NotFound,
    QuotaUsedUp,
    Refused,
)
from tests.drivers.openstack.witness import Witness
from tests.lab.openstack import NETWORK, Fault, OpenStackLab

pytestmark = pytest.mark.openstack

ANY = PortRequest(network=NETWORK)


@pytest.fixture
def ports(settings: Settings, witness: Witness) -> Iterator[NeutronPorts]:
    """The network driver; the network is empty again afterwards."""
    driver = NeutronPorts(settings)
    yield driver
    driver.close()
    witness.lab.faults.clear()
    for port in witness.ports():
        witness.remove_port(port.id)


def test_it_is_a_network_driver(ports: NeutronPorts) -> None:
    assert isinstance(ports, NetworkDriver)
    ports.check()


def test_a_port_is_made_bound_and_gone_again(
    ports: NeutronPorts, witness: Witness, key: str, instance: str
) -> None:
    ports.validate(ANY)
    assert ports.find_port(key, ANY) is None
    made = ports.create_port(key, instance, "web", ANY)
    assert made["type"] == "unbound"
    assert made["preexisting"] is False
    assert not made["active"]
    assert not ports.port_active(made)
    assert ports.find_port(key, ANY) == made
    seen = witness.port(made["id"])
    assert seen.device_id == instance
    assert seen.device_owner == OWNER + key
    assert seen.project_id == ports._cloud.project_id

    assert ports.find_binding(key, made, "host-a") is None
    bound = ports.bind_port(key, made, "host-a")
    assert bound["type"] == "bridge"
    assert bound["plugged_by"] == "libvirt"
    assert bound["network"]["bridge"] == witness.lab.bridge.name
    assert bound["host"] == "host-a"
    assert ports.find_binding(key, made, "host-a") == bound
    assert ports.find_binding(key, made, "host-b") is None
    assert ports.port_active(bound)
    kinds = {thing.kind for thing in ports.inventory() if thing.id == made["id"]}
    assert kinds == {"port", "binding"}

    ports.unbind_port(key, made, "host-b")  # not ours to take
    assert witness.port(made["id"]).binding_host_id == "host-a"
    ports.unbind_port(key, made, "host-a")
    assert ports.find_binding(key, made, "host-a") is None
    assert not witness.port(made["id"]).binding_host_id
    ports.delete_port(key, made)
    assert witness.port(made["id"]) is None
    assert ports.find_port(key, ANY) is None
    for _ in range(2):
        ports.unbind_port(key, made, "host-a")
        ports.delete_port(key, made)
    with pytest.raises(NotFound):
        ports.port_active(made)


def test_an_entry_of_network_info_has_the_documented_shape(
    ports: NeutronPorts, lab: OpenStackLab, key: str, instance: str
) -> None:
    wanted = str(lab.subnet[20])
    request = replace(ANY, fixed_ip=wanted, mac="52:54:00:aa:bb:01")
    ports.validate(request)
    made = ports.create_port(key, instance, "web", request)
    bound = ports.bind_port(key, made, "host-a")
    assert json.loads(json.dumps(bound)) == bound
    assert bound == {
        "id": made["id"],
        "address": "52:54:00:aa:bb:01",
        "type": "bridge",
        "plugged_by": "libvirt",
        "network": {
            "id": bound["network"]["id"],
            "label": NETWORK,
            "bridge": lab.bridge.name,
            "mtu": bound["network"]["mtu"],
            "subnets": [
                {
                    "cidr": str(lab.subnet),
                    "gateway": str(lab.subnet[1]),
                    "dns": [],
                    "ips": [{"address": wanted, "type": "fixed"}],
                }
            ],
        },
        "devname": "tap" + made["id"][:11],
        "details": bound["details"],
        "host": "host-a",
        "instance": instance,
        "active": True,
        "preexisting": False,
    }


def test_a_taken_address_is_refused_before_and_by_neutron(
    ports: NeutronPorts, lab: OpenStackLab, witness: Witness, key: str, instance: str
) -> None:
    request = replace(ANY, fixed_ip=str(lab.subnet[30]))
    ports.create_port(str(uuid4()), instance, "one", request)
    with pytest.raises(Conflict, match="is in use"):
        ports.validate(request)
    with pytest.raises(Conflict, match="already allocated"):  # it was free when it was validated
        ports.create_port(key, instance, "two", request)
    assert ports.find_port(key, request) is None
    assert len(witness.ports()) == 1


def test_a_taken_mac_is_refused_before_and_by_neutron(
    ports: NeutronPorts, key: str, instance: str
) -> None:
    request = replace(ANY, mac="52:54:00:aa:bb:02")
    ports.create_port(str(uuid4()), instance, "one", request)
    with pytest.raises(Conflict, match="is in use"):
        ports.validate(request)
    with pytest.raises(Conflict, match="is in use"):
        ports.create_port(key, instance, "two", request)


def test_of_many_that_race_for_one_address_exactly_one_wins(
    ports: NeutronPorts, lab: OpenStackLab, witness: Witness, instance: str
) -> None:
    request = replace(ANY, fixed_ip=str(lab.subnet[31]))

    def create(key: str) -> str:
        try:
            return str(ports.create_port(key, instance, "web", request)["id"])
        except Conflict:
            return ""

    with ThreadPoolExecutor(4) as pool:
        won = [made for made in pool.map(create, [str(uuid4()) for _ in range(4)]) if made]
    assert len(won) == 1
    assert [port.id for port in witness.ports()] == won


def test_requests_that_can_never_work(ports: NeutronPorts, lab: OpenStackLab) -> None:
    with pytest.raises(NotFound, match="no network nowhere"):
        ports.validate(PortRequest(network="nowhere"))
    with pytest.raises(BadInput, match="is not on network"):
        ports.validate(replace(ANY, fixed_ip="203.0.113.9"))
    with pytest.raises(BadInput, match="is not an IP address"):
        ports.validate(replace(ANY, fixed_ip="10.0.0.300"))
    for mac in ("52:54:00:zz:00:00", "01:00:5e:00:00:01", "52:54:00"):
        with pytest.raises(BadInput, match="is no MAC address"):
            ports.validate(replace(ANY, mac=mac))
    with pytest.raises(NotFound, match="no port"):
        ports.validate(PortRequest(network=None, port_id=str(uuid4())))
    lab_network = ports._network(ANY).id
    ports.validate(PortRequest(network=lab_network))


def test_no_name_is_the_only_network_there_is(
    ports: NeutronPorts, lab: OpenStackLab, key: str, instance: str
) -> None:
    unnamed = PortRequest(network=None)
    ports.validate(unnamed)
    made = ports.create_port(key, instance, "web", unnamed)
    assert made["network"]["label"] == NETWORK
    other = lab.connect().network.create_network(name="other")
    try:
        with pytest.raises(BadInput, match=r"name a network.*lab-net, other"):
            ports.validate(unnamed)
    finally:
        lab.connect().network.delete_network(other.id)


def test_a_network_name_that_two_have(ports: NeutronPorts, lab: OpenStackLab) -> None:
    tenant = lab.connect().network
    twins = [tenant.create_network(name="twin") for _ in range(2)]
    try:
        with pytest.raises(BadInput, match="more than one network is called twin"):
            ports.validate(PortRequest(network="twin"))
    finally:
        for twin in twins:
            tenant.delete_network(twin.id)


def test_a_full_subnet_and_a_used_up_quota(
    ports: NeutronPorts, lab: OpenStackLab, key: str, instance: str
) -> None:
    tenant = lab.connect().network
    small = tenant.create_network(name="small")
    tenant.create_subnet(network_id=small.id, ip_version=4, cidr="192.0.2.0/30")
    keys = [str(uuid4()) for _ in range(2)]
    request = PortRequest(network="small")
    try:
        ports.create_port(keys[0], instance, "one", request)
        with pytest.raises(NoAddressLeft):
            ports.create_port(keys[1], instance, "two", request)
        lab.set_quota(port=1)
        with pytest.raises(QuotaUsedUp, match=r"[Qq]uota"):
            ports.create_port(key, instance, "three", ANY)
        assert ports.find_port(key, ANY) is None
    finally:
        lab.set_quota(port=-1)
        for each in keys:
            ports.delete_port(each, {})
        tenant.delete_network(small.id)


def test_binding_failed_is_told_and_taken_back(
    ports: NeutronPorts, witness: Witness, key: str, instance: str
) -> None:
    made = ports.create_port(key, instance, "web", ANY)
    with pytest.raises(BindingFailed, match="cannot bind port"):
        ports.bind_port(key, made, "nobind-1")
    assert ports.find_binding(key, made, "nobind-1") is None
    assert not witness.port(made["id"]).binding_host_id
    assert ports.bind_port(key, made, "host-a")["type"] == "bridge"
    ports.delete_port(key, made)


def test_credentials_that_may_not_bind_are_found_out_first(
    settings: Settings, ports: NeutronPorts, key: str, instance: str
) -> None:
    plain = NeutronPorts(replace(settings, os_service_cloud=None))
    with pytest.raises(HostUnusable, match="--os-service-cloud"):
        plain.validate(ANY)
    with pytest.raises(HostUnusable, match="may not bind"):
        plain.check()
    made = ports.create_port(key, instance, "web", ANY)
    with pytest.raises(Refused) as caught:  # what Neutron would have said
        plain.bind_port(key, made, "host-a")
    assert caught.value.code == 403
    admin = NeutronPorts(replace(settings, os_cloud="labadmin", os_service_cloud=None))
    admin.validate(ANY)
    assert admin.bind_port(key, made, "host-a")["host"] == "host-a"


# --- the user's own ports ------------------------------------------------------------------------


def test_a_port_of_the_users_own_is_claimed_and_let_go_never_deleted(
    ports: NeutronPorts, witness: Witness, key: str, instance: str
) -> None:
    own = witness.new_port(name="mine", description="the user's words")
    request = PortRequest(network=None, port_id=own.id)
    ports.validate(request)
    assert ports.find_port(key, request) is None
    made = ports.create_port(key, instance, "web", request)
    assert made["preexisting"] is True
    assert ports.find_port(key, request) == made
    bound = ports.bind_port(key, made, "host-a")
    assert bound["network"]["bridge"] == witness.lab.bridge.name
    with pytest.raises(Conflict, match="is in use"):
        ports.validate(request)
    [thing] = [t for t in ports.inventory() if t.kind == "port" and t.id == own.id]
    assert thing.detail["preexisting"] is True
    ports.unbind_port(key, made, "host-a")
    ports.delete_port(key, made)
    left = witness.port(own.id)
    assert (left.device_id, left.device_owner, left.binding_host_id or "") == ("", "", "")
    assert (left.name, left.description) == ("mine", "the user's words")
    ports.delete_port(key, made)
    ports.validate(request)


def test_letting_go_takes_a_forgotten_binding_along(
    ports: NeutronPorts, witness: Witness, key: str, instance: str
) -> None:
    own = witness.new_port()
    made = ports.create_port(key, instance, "web", PortRequest(network=None, port_id=own.id))
    ports.bind_port(key, made, "host-a")
    ports.delete_port(key, made)
    assert not witness.port(own.id).binding_host_id


def test_of_two_builds_that_want_one_port_exactly_one_gets_it(
    ports: NeutronPorts, witness: Witness, instance: str
) -> None:
    own = witness.new_port()
    request = PortRequest(network=None, port_id=own.id)
    keys = [str(uuid4()) for _ in range(4)]

    def claim(key: str) -> bool:
        try:
            ports.create_port(key, instance, "web", request)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        won = [key for key, got in zip(keys, pool.map(claim, keys), strict=True) if got]
    assert len(won) == 1
    for key in keys:
        if key not in won:
            ports.delete_port(key, {"id": own.id, "preexisting": True})
    assert ports.find_port(won[0], request) is not None


def test_a_port_that_cannot_be_plugged_is_refused_before_anything(
    ports: NeutronPorts, witness: Witness
) -> None:
    own = witness.new_port(binding_vnic_type="direct")
    with pytest.raises(BadInput, match="vnic_type 'direct'"):
        ports.validate(PortRequest(network=None, port_id=own.id))


def test_a_port_of_the_users_own_deleted_in_mid_build(
    ports: NeutronPorts, witness: Witness, key: str, instance: str
) -> None:
    own = witness.new_port()
    request = PortRequest(network=None, port_id=own.id)
    made = ports.create_port(key, instance, "web", request)
    witness.remove_port(own.id)
    with pytest.raises(NotFound):
        ports.bind_port(key, made, "host-a")
    ports.unbind_port(key, made, "host-a")
    ports.delete_port(key, made)


# --- answers that go wrong -----------------------------------------------------------------------


@pytest.mark.parametrize(("action", "happened"), [("drop", False), ("drop-after", True)])
def test_a_port_whose_answer_was_lost_is_unknown_and_found(
    ports: NeutronPorts, witness: Witness, key: str, instance: str, action: str, happened: bool
) -> None:
    lost = Fault("neutron", "POST", "/ports", action=action)  # type: ignore[arg-type]
    witness.lab.faults.add(lost)
    with pytest.raises(DriverError) as caught:
        ports.create_port(key, instance, "web", ANY)
    assert caught.value.outcome_unknown
    found = ports.find_port(key, ANY)
    assert (found is not None) == happened
    ports.delete_port(key, found or {})
    assert witness.ports() == []


def test_a_port_made_twice_by_a_lost_answer_is_deleted_twice(
    ports: NeutronPorts, witness: Witness, key: str, instance: str
) -> None:
    first = ports.create_port(key, instance, "web", ANY)
    seen = witness.port(first["id"])  # the first request, delayed on its way, arrives as well
    second = witness.new_port(
        name=seen.name,
        description=seen.description,
        device_id=seen.device_id,
        device_owner=seen.device_owner,
    )
    found = ports.find_port(key, ANY)
    assert found is not None
    assert found["id"] in (first["id"], second.id)
    ports.delete_port(key, first)
    assert witness.ports() == []


@pytest.mark.parametrize("action", ["status", "status-after", "drop", "drop-after"])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_what_may_be_repeated_survives_errors_and_lost_answers(
    ports: NeutronPorts, witness: Witness, key: str, instance: str, action: str, method: str
) -> None:
    made = ports.create_port(key, instance, "web", ANY)
    witness.lab.faults.add(
        Fault("neutron", method, "/ports/", action=action, times=2)  # type: ignore[arg-type]
    )
    ports.bind_port(key, made, "host-a")
    ports.unbind_port(key, made, "host-a")
    ports.delete_port(key, made)
    assert witness.lab.faults.pending() == 0
    assert witness.ports() == []


def test_neutron_down_in_a_rollback_is_never_called_done(
    ports: NeutronPorts, witness: Witness, key: str, instance: str
) -> None:
    made = ports.create_port(key, instance, "web", ANY)
    witness.lab.faults.add(Fault("neutron", action="status", status=503, times=-1))
    with pytest.raises(DriverError):
        ports.delete_port(key, made)
    witness.lab.faults.clear()
    ports.delete_port(key, made)
    assert witness.ports() == []


def test_tokens_that_expire_in_mid_build_are_renewed(
    ports: NeutronPorts, witness: Witness, key: str, instance: str
) -> None:
    made = ports.create_port(key, instance, "web", ANY)
    witness.lab.expire_tokens()
    ports.bind_port(key, made, "host-a")
    witness.lab.expire_tokens()
    ports.delete_port(key, made)
    assert witness.ports() == []
