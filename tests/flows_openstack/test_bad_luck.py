"""Everything that a cloud can do to a build, each on the real services."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from buildflow.engine.guard import Intention
from buildflow.engine.run import Run
from buildflow.engine.staging import Halt
from buildflow.errors import BadInput, Conflict, HostUnusable, NotFound, StoreError
from tests.flows_openstack.bed import PATIENCE_S, READY, Bed, at, both, raising, together
from tests.lab.guest import GuestImages
from tests.lab.openstack import NETWORK, Fault

# --- refused before anything is made -------------------------------------------------------------


def refused(bed: Bed, error: type[Exception], match: str, **request: object) -> None:
    """Assert that a request is refused, and that nothing was written or made."""
    engine = bed.engine(os_service_cloud=request.pop("os_service_cloud", "labsvc"))
    with pytest.raises(error, match=match):
        engine.build(**bed.request(**request))
    assert engine.list() == []
    assert bed.witness.ports() == []
    assert [bed.witness.status(each) for each in bed.volumes] == ["available"] * len(bed.volumes)


def test_a_missing_service_identity_is_found_out_first(bed: Bed, guest_images: GuestImages) -> None:
    image = {"image": str(guest_images.qcow2), "no_network": True, "networks": []}
    given = [{"id": bed.blank_volume()}]
    refused(bed, HostUnusable, "service token", os_service_cloud=None, volumes=given, **image)
    made = [{"size": 1}]
    refused(bed, HostUnusable, "service token", os_service_cloud=None, volumes=made, **image)
    refused(bed, HostUnusable, "may not bind", os_service_cloud=None)


def test_from_the_wrong_place_nothing_is_undone_and_nothing_called_gone(bed: Bed) -> None:
    row = bed.build()
    bed.is_up(row)
    without_cloud = bed.engine(os_cloud=None, os_service_cloud=None)
    with pytest.raises(HostUnusable, match="not within reach: it was made by neutron of project"):
        without_cloud.delete(row["id"])
    without_rights = bed.engine(os_service_cloud=None)
    with pytest.raises(HostUnusable, match="--os-service-cloud"):
        without_rights.delete(row["id"])
    bed.is_up(row)
    # and where nobody has asked first, each undo does
    listed = without_cloud.store.find(row["id"])
    left = without_cloud.start(listed, Intention.DELETE).wait(PATIENCE_S)
    assert left["status"] == "residue"
    reasons = {effect["kind"]: effect["reason"] for effect in left["residue"]}
    assert set(reasons) == {"port", "binding", "reservation", "attachment", "attached"}
    assert "it was made by cinder of project" in reasons["attached"]
    assert "speaks to local" in reasons["attached"]
    [volume_id] = bed.volumes
    assert bed.witness.status(volume_id) == "in-use"
    [handle] = bed.engine().cleanup(row["id"])
    bed.nothing_is_left(handle.wait(PATIENCE_S))


def test_a_resume_from_the_wrong_place_touches_nothing(bed: Bed) -> None:
    lost = bed.engine(at("execute", "define", raising(Halt(StoreError("as a crash leaves it")))))
    handle = lost.build(**bed.request())
    with pytest.raises(StoreError):
        handle.wait(PATIENCE_S)
    lost.close()
    elsewhere = bed.engine(os_cloud=None, os_service_cloud=None)
    for revert in (False, True):
        [again] = elsewhere.resume([handle.id], revert=revert)
        with pytest.raises(HostUnusable, match="not within reach"):
            again.wait(PATIENCE_S)
    [volume_id] = bed.volumes
    assert bed.witness.status(volume_id) == "in-use"
    [again] = bed.engine().resume([handle.id], revert=True)
    bed.rolled_back(again.wait(PATIENCE_S))


def test_no_such_volume_network_port_or_image(bed: Bed) -> None:
    nobody = "00000000-0000-4000-8000-00000000dead"
    refused(bed, NotFound, "no volume", boot_volume={"id": nobody})
    refused(bed, NotFound, "no network", networks=[{"network": "nowhere"}])
    refused(bed, NotFound, "no port", networks=[{"port_id": nobody}])
    refused(bed, NotFound, "no image", image="nowhere")


def test_a_volume_in_error_or_in_use_elsewhere(bed: Bed) -> None:
    bad, used = bed.blank_volume(), bed.blank_volume()
    bed.witness.reset_status(bad, "error")
    engine = bed.engine()
    with pytest.raises(Conflict, match="is error"):
        engine.build(**bed.request(boot_volume={"id": bad}))
    bed.witness.reset_status(bad, "available")
    row = bed.build(boot_volume={"id": used})
    with pytest.raises(Conflict, match="is in-use"):
        engine.build(**bed.request(boot_volume={"id": used}))
    bed.is_up(row)


def test_a_taken_address(bed: Bed) -> None:
    address = str(bed.lab.subnet[40])
    taken = bed.witness.new_port(fixed_ips=[{"ip_address": address}])
    engine = bed.engine()
    with pytest.raises(Conflict, match=f"{address} is in use"):
        engine.build(**bed.request(networks=[{"network": NETWORK, "fixed_ip": address}]))
    bed.witness.remove_port(taken.id)
    row = bed.build(networks=[{"network": NETWORK, "fixed_ip": address}])
    bed.is_up(row)
    assert row["network_info"][0]["network"]["subnets"][0]["ips"][0]["address"] == address


def test_an_address_off_the_network(bed: Bed) -> None:
    wrong = [{"network": NETWORK, "fixed_ip": "203.0.113.7"}]
    refused(bed, BadInput, "is not on network", networks=wrong)


# --- Neutron -------------------------------------------------------------------------------------


def test_an_address_taken_between_the_check_and_the_port(bed: Bed) -> None:
    address = str(bed.lab.subnet[41])
    thief = []

    def take() -> None:
        thief.append(bed.witness.new_port(fixed_ips=[{"ip_address": address}]))

    row = bed.build(
        at("execute", "port:0", take), networks=[{"network": NETWORK, "fixed_ip": address}]
    )
    bed.rolled_back(row, kept_ports=1)
    assert row["fault"]["type"] == "Conflict"
    assert "already allocated" in row["fault"]["message"]


def test_quota(bed: Bed) -> None:
    bed.lab.set_quota(port=0)
    row = bed.build()
    bed.rolled_back(row)
    assert row["fault"]["type"] == "QuotaUsedUp"


def test_403_on_binding(bed: Bed) -> None:
    forbidden = Fault("neutron", "PUT", "/ports/", "binding:host_id", status=403, times=-1)
    clear = at("revert", "port:0:bind", bed.lab.faults.clear)
    bed.lab.faults.add(forbidden)
    row = bed.build(clear)
    bed.rolled_back(row)
    assert row["fault"]["code"] == 403
    assert row["fault"]["step"] == "port:0:bind"


def test_a_port_of_the_users_own(bed: Bed) -> None:
    own = bed.witness.new_port(name="mine")
    row = bed.build(networks=[{"port_id": own.id}])
    bed.is_up(row)
    assert row["network_info"][0]["preexisting"] is True
    engine = bed.engines[-1]
    engine.delete(row["id"]).wait(PATIENCE_S)
    bed.nothing_is_left(engine.show(row["id"]), kept_ports=1)
    left = bed.witness.port(own.id)
    assert (left.name, left.device_id, left.device_owner) == ("mine", "", "")
    assert not left.binding_host_id


# --- Cinder and its target -----------------------------------------------------------------------


def test_a_volume_deleted_in_mid_build(bed: Bed) -> None:
    volume_id = bed.blank_volume()

    def delete() -> None:
        bed.volumes.remove(volume_id)
        bed.witness.remove_volume(volume_id)

    row = bed.build(at("execute", "volume:0:reserve", delete), boot_volume={"id": volume_id})
    bed.rolled_back(row)
    assert row["fault"]["type"] == "NotFound"


@pytest.mark.parametrize("times", [1, 2])
def test_500_from_cinder_once_or_twice_is_no_failure(bed: Bed, times: int) -> None:
    bed.lab.faults.add(Fault("cinder", "PUT", "/attachments/", times=times))
    row = bed.build()
    bed.is_up(row)
    assert bed.lab.faults.pending() == 0


def test_500_from_cinder_always(bed: Bed) -> None:
    bed.lab.faults.add(Fault("cinder", "PUT", "/attachments/", times=-1))
    row = bed.build()
    bed.rolled_back(row)
    assert row["fault"]["code"] == 500
    assert row["fault"]["step"] == "volume:0:connect"


@pytest.mark.parametrize("protocol", ["attachments", "legacy"])
def test_a_wrong_chap_password(bed: Bed, protocol: str) -> None:
    volume_id = bed.blank_volume()

    def spoil() -> None:
        bed.lab.tgt.change_password(volume_id, "not-what-cinder-thinks")

    row = bed.build(
        at("execute", "start", spoil), boot_volume={"id": volume_id}, volume_api=protocol
    )
    bed.rolled_back(row)
    assert row["fault"]["step"] == "start"
    assert "not-what-cinder-thinks" not in str(row)


@pytest.mark.parametrize("protocol", ["attachments", "legacy"])
def test_a_target_that_is_gone(bed: Bed, protocol: str) -> None:
    volume_id = bed.blank_volume()

    def remove() -> None:
        bed.lab.tgt.delete_target(volume_id)

    row = bed.build(
        at("execute", "start", remove), boot_volume={"id": volume_id}, volume_api=protocol
    )
    bed.rolled_back(row)
    assert row["fault"]["step"] == "start"


def test_tgtd_killed_in_mid_build(bed: Bed) -> None:
    restart = at("revert", "volume:0:attach", bed.lab.tgt.start)
    row = bed.build(both(at("execute", "start", bed.lab.tgt.kill9), restart))
    bed.rolled_back(row)
    assert row["fault"]["step"] == "start"


# --- the documented protocol ---------------------------------------------------------------------


def test_the_documented_protocol_boots_and_goes(bed: Bed, guest_image: str) -> None:
    volume_id = bed.boot_volume(guest_image)
    engine = bed.engine(volume_api="legacy")
    row = bed.build(engine=engine, boot_volume={"id": volume_id}, wait=READY)
    assert row["status"] == "complete", row["fault"]
    assert bed.witness.status(volume_id) == "in-use"
    engine.delete(row["id"]).wait(PATIENCE_S)
    bed.nothing_is_left(engine.show(row["id"]))


@pytest.mark.parametrize(
    "step",
    ["volume:0:reserve", "volume:0:connect", "volume:0:attach", "secret:0", "Wait for boot"],
)
def test_the_documented_protocol_leaves_no_export(bed: Bed, step: str) -> None:
    from tests.flows_openstack.test_nova_leaks import fail_at

    row = bed.build(fail_at(step, "execute"), volume_api="legacy")
    bed.rolled_back(row)


# --- Keystone, and many at once ------------------------------------------------------------------


def test_tokens_that_expire_before_every_step_that_speaks_to_a_service(bed: Bed) -> None:
    def expire(where: str, step: str, run: Run) -> None:
        speaks = step.startswith(("port", "volume:", "secret:")) and step != "volume:0:host"
        if speaks and where in ("execute", "undo"):
            bed.lab.expire_tokens()

    engine = bed.engine(expire)
    row = bed.build(engine=engine)
    bed.is_up(row)
    engine.delete(row["id"]).wait(PATIENCE_S)
    bed.nothing_is_left(engine.show(row["id"]))


def test_of_two_builds_that_race_for_a_volume_exactly_one_wins(bed: Bed) -> None:
    volume_id = bed.blank_volume()
    engine = bed.engine(together("execute", "volume:0:reserve"))
    requests = [bed.request(boot_volume={"id": volume_id}) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        handles = list(pool.map(lambda request: engine.build(**request), requests))
    rows = [handle.wait(PATIENCE_S) for handle in handles]
    assert sorted(row["status"] for row in rows) == ["complete", "rolled_back"]
    [won] = [row for row in rows if row["status"] == "complete"]
    [lost] = [row for row in rows if row["status"] == "rolled_back"]
    bed.is_up(won)
    assert lost["residue"] == []
    assert lost["fault"]["type"] == "Conflict"
    assert len(bed.witness.ports()) == 1
    engine.delete(won["id"]).wait(PATIENCE_S)
    bed.nothing_is_left(engine.show(won["id"]))


# --- a daemon ------------------------------------------------------------------------------------


def test_with_a_libvirtd_the_password_is_a_libvirt_secret_that_goes(
    bed: Bed, guest_image: str, capabilities: Path
) -> None:
    from tests.lab.directories import open_directory
    from tests.lab.libvirt import PrivateLibvirtd

    volume_id = bed.boot_volume(guest_image)
    with open_directory("bf-lv-") as directory, PrivateLibvirtd(directory, capabilities) as daemon:
        bed.settings = replace(bed.settings, connect=daemon.uri)
        engine = bed.engine()
        row = bed.build(engine=engine, boot_volume={"id": volume_id}, wait=READY)
        bed.is_up(row)
        import libvirt

        connection = libvirt.open(daemon.uri)
        try:
            assert connection.listAllSecrets() == []
        finally:
            connection.close()
        engine.delete(row["id"]).wait(PATIENCE_S)
        bed.nothing_is_left(engine.show(row["id"]))
        engine.close()
        bed.engines.clear()
    bed.settings = replace(bed.settings, connect=None)
