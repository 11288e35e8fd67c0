"""gc on the real services: what is there and should not be, and what should be and is not."""

from __future__ import annotations

import pytest

from buildflow.drivers.openstack.cinder import INSTANCE, KEY
from buildflow.errors import BuildflowError
from tests.flows_openstack.bed import PATIENCE_S, Bed, at, raising
from tests.flows_openstack.test_nova_leaks import BROKEN
from tests.lab.openstack import Fault


def test_a_machine_that_is_up_is_neither_stray_nor_lost(bed: Bed) -> None:
    engine = bed.engine()
    row = bed.build(engine=engine, volumes=[{"size": 1}])
    bed.is_up(row)
    bystander = bed.witness.new_port(name="of somebody else")
    audit = engine.gc()
    assert audit.strays == []
    assert audit.lost == []
    assert audit.foreign == []
    assert bed.witness.port(bystander.id) is not None
    bed.is_up(row)


def test_what_was_taken_behind_our_back_is_lost(bed: Bed) -> None:
    engine = bed.engine()
    row = bed.build(engine=engine)
    [vif] = row["network_info"]
    bed.witness.remove_port(vif["id"])
    lost = engine.gc(dry_run=True).lost
    assert {"port"} <= {entry["kind"] for entry in lost} <= {"port", "binding"}
    assert {entry["id"] for entry in lost} == {vif["id"]}
    engine.delete(row["id"]).wait(PATIENCE_S)
    bed.nothing_is_left(engine.show(row["id"]))


def test_a_request_that_arrives_after_its_undo_is_a_stray_and_goes(bed: Bed) -> None:
    engine = bed.engine(at("execute", "Wait for boot", raising(BROKEN)))
    row = bed.build(engine=engine, boot_volume={"size": 1})
    bed.rolled_back(row)
    [volume] = [effect for effect in row["effects"] if effect["kind"] == "volume"]
    [port] = [effect for effect in row["effects"] if effect["kind"] == "port"]
    metadata = {KEY: volume["key"], INSTANCE: row["id"]}
    late_volume = bed.witness.new_volume(metadata=metadata)
    late_port = bed.witness.new_port(
        device_owner=f"compute:buildflow:{port['key']}",
        description=f"made by buildflow:{port['key']}",
        device_id=row["id"],
    )
    dry = engine.gc(dry_run=True)
    assert {entry["id"] for entry in dry.strays} == {late_volume, late_port.id}
    audit = engine.gc()
    assert audit.failed == []
    assert {entry["id"] for entry in audit.removed} == {late_volume, late_port.id}
    bed.nothing_is_left(engine.show(row["id"]))
    assert engine.gc().strays == []


def test_what_another_store_has_made_is_foreign_and_never_touched(bed: Bed) -> None:
    foreign = bed.blank_volume(metadata={KEY: "somebody's", INSTANCE: "somebody"})
    audit = bed.engine().gc()
    assert [entry["id"] for entry in audit.foreign] == [foreign]
    assert audit.removed == []
    assert bed.witness.status(foreign) == "available"


def test_gc_touches_nothing_when_a_service_cannot_be_asked(bed: Bed) -> None:
    engine = bed.engine()
    row = bed.build(engine=engine)
    bed.lab.faults.add(Fault("cinder", "GET", "/volumes", status=503, times=-1))
    with pytest.raises(BuildflowError, match="cannot list volumes"):
        engine.gc()
    bed.lab.faults.clear()
    bed.is_up(row)
