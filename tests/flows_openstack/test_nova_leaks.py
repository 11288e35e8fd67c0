"""What Nova leaves behind, or does wrong, when a build fails: P1 to P24, each on the real services.

The numbers and the behaviour of Nova that each stands for are those of the project's list of pain
points; a name says what must hold here instead.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from buildflow.api import open_world_of
from buildflow.drivers.world import World
from buildflow.errors import DriverError, Exhausted, Refused
from tests.flows_openstack.bed import (
    PATIENCE_S,
    READY,
    Bed,
    Fault,
    Row,
    at,
    both,
    raising,
    together,
    wait_until,
)
from tests.lab.openstack import NETWORK
from tests.lab.openstack import Fault as ServiceFault

BROKEN = DriverError("broken on purpose", driver="compute")


def undone_order(row: Row) -> list[str]:
    """Kinds of effect in the order in which they were undone."""
    undone = [effect for effect in row["effects"] if effect["state"] == "undone"]
    return [effect["kind"] for effect in sorted(undone, key=lambda e: e["changed_at"])]


def fail_at(step: str, where: str = "execute") -> Fault:
    """A build that fails when `step` comes to `where`."""
    return at(where, step, raising(BROKEN))


# --- P1, P2: after the spawn ---------------------------------------------------------------------


@pytest.mark.parametrize(("where", "step"), [("recorded", "Wait for boot"), ("execute", "finish")])
def test_p1_a_failure_after_the_spawn_leaves_no_guest_running(
    bed: Bed, where: str, step: str
) -> None:
    row = bed.build(fail_at(step, where))
    bed.rolled_back(row)
    assert row["fault"]["message"] == "broken on purpose"


def test_p2_a_guest_that_exits_at_once_ends_the_wait_and_the_build(
    bed: Bed, guest_images: object
) -> None:
    poweroff = str(guest_images.variant("poweroff"))  # type: ignore[attr-defined]
    began = time.monotonic()
    row = bed.build(image=poweroff, volumes=[{"id": bed.blank_volume()}], wait=READY)
    bed.rolled_back(row)
    assert row["fault"]["type"] == "GuestDied"
    assert time.monotonic() - began < 60


def test_p2_a_guest_that_never_comes_up_is_given_up_at_the_deadline(bed: Bed) -> None:
    row = bed.build(wait=READY, timeout_s=3.0)  # its volume holds no operating system
    bed.rolled_back(row)
    assert row["fault"]["type"] == "DeadlineExceeded"


# --- P3, P16, P24: volumes made for the build ----------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        ServiceFault("cinder", "GET", "/volumes/[0-9a-f-]{36}$", times=-1),
        ServiceFault("cinder", "POST", "/attachments", times=-1),
    ],
    ids=["while-it-is-awaited", "when-it-is-reserved"],
)
def test_p3_a_volume_made_for_the_build_is_not_forgotten(bed: Bed, fault: ServiceFault) -> None:
    faults = bed.lab.faults
    arm = at("made", "volume:0:create", lambda: faults.add(fault))
    clear = at("revert", "volume:0:create", faults.clear)
    late = at("revert", "volume:0:reserve", faults.clear)
    row = bed.build(both(arm, clear, late), boot_volume={"size": 1, "delete_on_termination": True})
    bed.rolled_back(row)
    assert "volume" in undone_order(row)


def test_p16_a_volume_made_for_the_build_goes_after_its_detach(bed: Bed) -> None:
    made = {"size": 1, "delete_on_termination": True}
    row = bed.build(fail_at("Wait for boot"), boot_volume=made)
    bed.rolled_back(row)
    order = undone_order(row)
    assert order.index("attached") < order.index("volume")
    assert order.index("reservation") < order.index("volume")


def test_p24_a_delete_in_mid_build_takes_the_made_volume_along(bed: Bed) -> None:
    engine = bed.engine(at("made", "volume:0:create", lambda: delete()))
    handle = engine.build(**bed.request(boot_volume={"size": 1, "delete_on_termination": True}))

    def delete() -> None:
        threading.Thread(target=lambda: engine.delete(handle.id)).start()
        wait_until(lambda: engine.store.find(handle.id)["stop"] == "deleted", "stop request")

    row = handle.wait(PATIENCE_S)
    wait_until(lambda: engine.show(handle.id)["vm_state"] == "deleted", "deleted")
    row = engine.show(handle.id)
    assert row["vm_state"] == "deleted"
    bed.nothing_is_left(row)


# --- P4, P5, P6, P20: what depends on what -------------------------------------------------------


def test_p4_p5_p20_nothing_is_taken_from_a_guest_that_could_not_be_stopped(bed: Bed) -> None:
    stuck = at("undo", "start", raising(Refused("it would not die")), times=1)
    row = bed.build(both(fail_at("Wait for boot"), stuck))
    assert row["status"] == "residue"
    left = {effect["kind"] for effect in row["residue"]}
    assert left >= {"guest", "domain", "attached", "attachment", "reservation", "port", "binding"}
    # the guest, its volume and its address are all as they were
    [volume_id] = bed.volumes
    assert bed.is_running(row["id"])
    assert bed.witness.status(volume_id) == "in-use"
    target = bed.lab.tgt.target_of(volume_id)
    assert target is not None
    assert len(target.sessions) == 1
    [port] = bed.witness.ports()
    assert port.status == "ACTIVE"
    # and the job is finished on demand
    engine = bed.engines[-1]
    for handle in engine.cleanup(row["id"]):
        handle.wait(PATIENCE_S)
    bed.rolled_back(engine.show(row["id"]))


def test_p6_a_live_guest_is_destroyed_before_its_volume_is_let_go(bed: Bed) -> None:
    row = bed.build(fail_at("Wait for boot"))
    bed.rolled_back(row)
    order = undone_order(row)
    for later in ("domain", "attached", "attachment", "reservation", "binding", "port"):
        assert order.index("guest") < order.index(later), order


def test_p6_a_port_that_never_gets_active_ends_the_build(bed: Bed) -> None:
    def down() -> None:
        [port] = bed.witness.ports()
        bed.witness.set_port_down(port.id)

    row = bed.build(
        at("recorded", "start", down), vif_plugging_timeout_s=2.0, vif_plugging_is_fatal=True
    )
    bed.rolled_back(row)
    assert row["fault"]["type"] == "DeadlineExceeded"
    assert "ACTIVE" in row["fault"]["message"]


def test_p6_a_port_that_never_gets_active_is_let_pass_where_that_is_not_fatal(bed: Bed) -> None:
    def down() -> None:
        [port] = bed.witness.ports()
        bed.witness.set_port_down(port.id)

    row = bed.build(
        at("recorded", "start", down), vif_plugging_timeout_s=1.0, vif_plugging_is_fatal=False
    )
    assert row["status"] == "complete"


# --- P7, P23: services that are down or hang while a build is rolled back ------------------------


@pytest.mark.parametrize("service", ["neutron", "cinder", "keystone"])
def test_p7_a_service_that_is_down_in_a_rollback_is_residue_never_a_clean_end(
    bed: Bed, service: str
) -> None:
    def down() -> None:
        bed.lab.faults.add(ServiceFault(service, action="drop", times=-1))
        if service == "keystone":
            bed.lab.expire_tokens()
        raise BROKEN

    row = bed.build(at("execute", "Wait for boot", down), undo_timeout_s=2.0)
    assert row["status"] == "residue"
    assert not bed.is_running(row["id"])  # what could be undone was
    kinds = {effect["kind"] for effect in row["residue"]}
    assert kinds & ({"port"} if service == "neutron" else {"reservation"})
    bed.lab.faults.clear()
    engine = bed.engines[-1]
    for handle in engine.cleanup(row["id"]):
        handle.wait(PATIENCE_S)
    bed.rolled_back(engine.show(row["id"]))


def test_p23_a_service_that_hangs_does_not_hang_the_rollback(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = bed.home / "clouds.yaml"
    text = bed.lab.clouds_yaml.read_text()
    impatient.write_text(text.replace("    region_name:", "    api_timeout: 2\n    region_name:"))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(impatient))

    def hang() -> None:
        bed.lab.faults.add(ServiceFault("neutron", action="hang", times=-1))
        raise BROKEN

    began = time.monotonic()
    row = bed.build(at("execute", "Wait for boot", hang), undo_timeout_s=2.0)
    assert row["status"] == "residue"
    assert time.monotonic() - began < 90
    bed.lab.faults.clear()
    engine = bed.engines[-1]
    for handle in engine.cleanup(row["id"]):
        handle.wait(PATIENCE_S)
    bed.rolled_back(engine.show(row["id"]))


# --- P9: our record and Cinder's -----------------------------------------------------------------


@pytest.mark.parametrize("step", ["claim host", "port:0", "volume:0:connect", "define"])
def test_p9_after_a_failure_our_record_is_cinders_state(bed: Bed, step: str) -> None:
    full = at("execute", step, raising(Exhausted("no room", driver="compute")))
    row = bed.build(full, max_attempts=1)
    bed.rolled_back(row)


# --- P10, P11: a delete or a cancel at any moment ------------------------------------------------


@pytest.mark.parametrize(
    ("where", "step"),
    [
        ("execute", "_prebuild_instance"),
        ("made", "port:0"),
        ("execute", "block_device_mapping"),
        ("made", "volume:0:attach"),
        ("made", "start"),
        ("execute", "Wait for boot"),
        ("execute", "finish"),
    ],
)
def test_p10_a_delete_request_wins_at_every_step(bed: Bed, where: str, step: str) -> None:
    asked = threading.Event()
    engine = bed.engine(at(where, step, lambda: ask()))
    handle = engine.build(**bed.request())

    def delete() -> None:
        engine.delete(handle.id)
        asked.set()

    def ask() -> None:
        threading.Thread(target=delete).start()
        wait_until(lambda: engine.store.find(handle.id)["stop"] == "deleted", "stop request")

    handle.wait(PATIENCE_S)
    assert asked.wait(PATIENCE_S)
    wait_until(lambda: engine.show(handle.id)["vm_state"] == "deleted", "deleted")
    row = engine.show(handle.id)
    assert row["task_state"] is None
    bed.nothing_is_left(row)


def test_p11_a_cancel_while_a_port_is_made_waits_for_it_and_removes_it(bed: Bed) -> None:
    bed.lab.faults.add(ServiceFault("neutron", "POST", "/ports", action="delay", seconds=2.0))
    engine = bed.engine(at("execute", "port:0", lambda: None))
    handle = engine.build(**bed.request())
    wait_until(lambda: bed.lab.faults.pending() == 0, "request under way")
    assert handle.cancel()
    row = handle.wait(PATIENCE_S)
    bed.rolled_back(row)
    assert row["fault"]["type"] == "BuildStopped"


# --- P12, P13: several networks; only what this build made ---------------------------------------


def test_p12_a_second_network_that_fails_leaves_no_port_of_the_first(bed: Bed) -> None:
    bed.lab.set_quota(port=1)
    row = bed.build(networks=[{"network": NETWORK}, {"network": NETWORK}])
    bed.rolled_back(row)
    assert row["fault"]["type"] == "QuotaUsedUp"


@pytest.mark.parametrize("step", ["port:0:bind", "volume:0:reserve", "define", "Wait for boot"])
def test_p13_only_what_this_build_made_is_undone(bed: Bed, step: str) -> None:
    bystander = bed.witness.new_port(name="of somebody else")
    own = bed.witness.new_port(name="the user's own")
    beside = bed.blank_volume(name="of somebody else")
    kept = bed.home / "instances" / "kept"
    kept.mkdir(parents=True)
    row = bed.build(fail_at(step), networks=[{"network": NETWORK}, {"port_id": own.id}])
    kept.rmdir()
    bed.rolled_back(row, kept_ports=2)
    assert bed.witness.port(bystander.id).name == "of somebody else"
    left = bed.witness.port(own.id)
    assert (left.device_id, left.device_owner, left.binding_host_id or "") == ("", "", "")
    assert bed.witness.status(beside) == "available"


# --- P14, P15, P18: undos that go wrong ----------------------------------------------------------


@pytest.mark.parametrize("step", ["define", "volume:0:host", "port:0:bind", "instance directory"])
def test_p14_an_undo_that_raises_something_odd_stops_no_other(bed: Bed, step: str) -> None:
    odd = at("undo", step, raising(ValueError("nobody foresaw this")))
    row = bed.build(both(fail_at("Wait for boot"), odd))
    assert row["status"] == "residue"
    blamed = [effect for effect in row["residue"] if "nobody foresaw" in (effect["reason"] or "")]
    assert len(blamed) == 1
    assert not bed.is_running(row["id"])
    engine = bed.engines[-1]
    for handle in engine.cleanup(row["id"]):
        handle.wait(PATIENCE_S)
    bed.rolled_back(engine.show(row["id"]))


def test_p15_a_failed_complete_is_rolled_back_by_what_was_recorded_before_it(bed: Bed) -> None:
    bed.lab.faults.add(ServiceFault("cinder", "POST", "/attachments/[^/]+/action", times=-1))
    row = bed.build()
    bed.rolled_back(row)
    assert row["fault"]["step"] == "volume:0:attach"
    assert {"attached", "attachment", "reservation"} <= set(undone_order(row))


@pytest.mark.parametrize(
    ("service", "method", "path"),
    [
        ("cinder", "POST", "/attachments$"),
        ("cinder", "PUT", "/attachments/"),
        ("cinder", "POST", "/attachments/[^/]+/action"),
        ("cinder", "DELETE", "/attachments/"),
        ("neutron", "POST", "/ports"),
        ("neutron", "PUT", "/ports/"),
        ("neutron", "DELETE", "/ports/"),
    ],
)
def test_p18_an_answer_lost_after_the_server_acted_changes_nothing(
    bed: Bed, service: str, method: str, path: str
) -> None:
    bed.lab.faults.add(ServiceFault(service, method, path, action="drop-after"))
    row = bed.build()
    bed.is_up(row)
    assert len(bed.witness.ports()) == 1
    engine = bed.engines[-1]
    engine.delete(row["id"]).wait(PATIENCE_S)
    assert bed.lab.faults.pending() == 0
    bed.nothing_is_left(engine.show(row["id"]))


# --- P16: another host ---------------------------------------------------------------------------


def test_p16_a_host_that_neutron_cannot_bind_is_left_for_another_and_leaves_nothing(
    bed: Bed,
) -> None:
    drivers = open_world_of(bed.settings)
    [compute] = set(drivers.computes.values())
    world = World(
        {"nobind-1": compute, "host-b": compute},
        network=lambda: drivers.network,
        volume=lambda: drivers.volume,
        image=lambda: drivers.image,
    )
    made = {"size": 1, "delete_on_termination": True}
    engine = bed.engine(world=world)
    row = bed.build(engine=engine, boot_volume=made, volumes=[{"id": bed.blank_volume()}])
    assert row["status"] == "complete", row["fault"]
    assert (row["host"], row["attempt"]) == ("host-b", 2)
    assert [port.binding_host_id for port in bed.witness.ports()] == ["host-b"]
    engine.delete(row["id"]).wait(PATIENCE_S)
    bed.nothing_is_left(engine.show(row["id"]))


# --- P17, P19: at the same time ------------------------------------------------------------------


def test_p17_two_deletes_of_machines_that_share_a_volume(bed: Bed) -> None:
    kind = bed.witness.volume_type("shared", {"multiattach": "<is> True"})
    shared = bed.blank_volume(volume_type=kind)
    # each comes to the volume while the other takes it, and leaves it while the other does
    engine = bed.engine(both(together("execute", "volume:1:reserve"), together("undo", "start")))
    handles = [engine.build(**bed.request(volumes=[{"id": shared}])) for _ in range(2)]
    rows = [handle.wait(PATIENCE_S) for handle in handles]
    assert [row["status"] for row in rows] == ["complete", "complete"], [r["fault"] for r in rows]
    assert len(bed.witness.attachments(shared)) == 2
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda row: engine.delete(row["id"]).wait(PATIENCE_S), rows))
    for row in rows:
        bed.nothing_is_left(engine.show(row["id"]))
    bed.witness.is_untouched(shared)


@pytest.mark.slow
def test_p19_ten_builds_at_once_with_a_volume_and_a_port_each(bed: Bed) -> None:
    engine = bed.engine(max_concurrent_builds=10)
    requests = [bed.request() for _ in range(10)]
    handles = [engine.build(**request) for request in requests]
    rows = [handle.wait(PATIENCE_S) for handle in handles]
    for row in rows:
        bed.is_up(row)
    addresses = {vif["network"]["subnets"][0]["ips"][0]["address"]
                 for row in rows for vif in row["network_info"]}  # fmt: skip
    assert len(addresses) == 10
    deletes = [engine.delete(row["id"]) for row in rows]
    for handle in deletes:
        handle.wait(PATIENCE_S)
    for row in rows:
        bed.nothing_is_left(engine.show(row["id"]))


# --- P21, P22 ------------------------------------------------------------------------------------


def test_p21_the_original_error_reaches_the_result(bed: Bed) -> None:
    [volume_id] = [bed.blank_volume()]

    def spoil() -> None:
        bed.witness.reset_status(volume_id, "error")

    mend = at(
        "revert", "volume:0:reserve", lambda: bed.witness.reset_status(volume_id, "available")
    )
    row = bed.build(
        both(at("execute", "volume:0:reserve", spoil), mend), boot_volume={"id": volume_id}
    )
    bed.rolled_back(row)
    assert row["fault"]["step"] == "volume:0:reserve"
    assert "currently has a status of: error" in row["fault"]["message"]


def test_p22_a_build_whose_time_is_up_is_stopped_and_rolled_back(bed: Bed) -> None:
    row = bed.build(wait=READY, timeout_s=300.0, build_timeout_s=6.0)
    bed.rolled_back(row)
    assert row["fault"]["type"] == "BuildStopped"
    assert row["fault"]["message"].startswith("deadline")


def test_the_list_is_whole() -> None:
    """Each of P1 to P24 has a scenario here, or (P8) beside this file."""
    text = Path(__file__).read_text() + (Path(__file__).parent / "test_killed.py").read_text()
    missing = [number for number in range(1, 25) if f"p{number}_" not in text]
    assert missing == []
