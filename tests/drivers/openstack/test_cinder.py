"""Volumes that a build makes, and the volume service as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from buildflow.config import Settings
from buildflow.drivers.openstack.cinder import INSTANCE, KEY, CinderVolumes
from buildflow.drivers.protocols import VolumeDriver
from buildflow.errors import (
    BadInput,
    Busy,
    Conflict,
    DriverError,
    HostUnusable,
    NotFound,
    QuotaUsedUp,
    Refused,
)
from tests.drivers.openstack.witness import Witness
from tests.lab.openstack import Fault, OpenStackLab

pytestmark = pytest.mark.openstack


@pytest.fixture
def made(by_attachments: CinderVolumes, witness: Witness) -> Iterator[list[str]]:
    """Ids of volumes to take away afterwards."""
    ids: list[str] = []
    yield ids
    witness.lab.faults.clear()
    for each in ids:
        witness.remove_volume(each)


def test_it_is_a_volume_driver(by_attachments: CinderVolumes) -> None:
    assert isinstance(by_attachments, VolumeDriver)


def test_a_blank_volume_is_found_by_its_key_until_it_is_deleted(
    by_attachments: CinderVolumes, witness: Witness, made: list[str], key: str, instance: str
) -> None:
    assert by_attachments.find_volume(key) is None
    volume = by_attachments.create_volume(key, instance, {"size": 1})
    made.append(volume["id"])
    assert volume["status"] in ("creating", "available")
    assert by_attachments.find_volume(key)["id"] == volume["id"]  # type: ignore[index]
    witness.wait(lambda: by_attachments.volume_status(volume["id"]) == "available", "available")
    assert witness.volume(volume["id"])["metadata"] == {KEY: key, INSTANCE: instance}
    [thing] = [thing for thing in by_attachments.inventory() if thing.key == key]
    assert (thing.kind, thing.id, thing.build) == ("volume", volume["id"], instance)
    by_attachments.delete_volume(key, volume["id"])
    assert by_attachments.volume_status(volume["id"]) == "deleted"
    assert by_attachments.find_volume(key) is None
    by_attachments.delete_volume(key, volume["id"])


def test_a_volume_from_an_image_is_bootable(
    by_attachments: CinderVolumes,
    witness: Witness,
    made: list[str],
    key: str,
    instance: str,
    tmp_path: Path,
) -> None:
    content = tmp_path / "disk.raw"
    content.write_bytes(b"begin" + bytes(1 << 20))
    image = witness.lab.upload_image("small", content, "raw")
    volume = by_attachments.create_volume(key, instance, {"size": 1, "image_id": image})
    made.append(volume["id"])
    witness.wait(lambda: witness.status(volume["id"]) == "available", "volume available")
    found = by_attachments.validate(volume["id"], instance)
    assert found["bootable"] is True
    file = witness.lab.directory / "cinder/volumes" / f"volume-{volume['id']}"
    with file.open("rb") as stored:
        assert stored.read(5) == b"begin"
    by_attachments.delete_volume(key, volume["id"])
    assert not file.exists()


def test_a_volume_from_a_snapshot(
    by_attachments: CinderVolumes, witness: Witness, volume_id: str, made: list[str], key: str,
    instance: str,
) -> None:  # fmt: skip
    body = {"snapshot": {"volume_id": volume_id, "name": "s"}}
    snapshot = witness.cinder("POST", "/snapshots", body)["snapshot"]["id"]
    path = f"/snapshots/{snapshot}"

    def status() -> str:
        return str(witness.cinder("GET", path)["snapshot"]["status"])

    witness.wait(lambda: status() == "available", "snapshot available")
    volume = by_attachments.create_volume(key, instance, {"size": 1, "snapshot_id": snapshot})
    made.append(volume["id"])
    witness.wait(lambda: witness.status(volume["id"]) == "available", "volume available")
    assert witness.volume(volume["id"])["snapshot_id"] == snapshot
    by_attachments.delete_volume(key, volume["id"])
    witness.cinder("DELETE", path)


def test_an_image_that_is_not_there_makes_no_volume(
    by_attachments: CinderVolumes, key: str, instance: str
) -> None:
    with pytest.raises(Refused, match="cannot create a volume"):
        by_attachments.create_volume(key, instance, {"size": 1, "image_id": instance})
    assert by_attachments.find_volume(key) is None


def test_a_volume_that_is_handed_over_is_not_ours_any_more(
    by_attachments: CinderVolumes, witness: Witness, made: list[str], key: str, instance: str
) -> None:
    volume = by_attachments.create_volume(key, instance, {"size": 1})
    made.append(volume["id"])
    by_attachments.keep_volume("another key", volume["id"])
    assert by_attachments.find_volume(key) is not None
    for _ in range(2):
        by_attachments.keep_volume(key, volume["id"])
    assert by_attachments.find_volume(key) is None
    assert not [thing for thing in by_attachments.inventory() if thing.id == volume["id"]]
    assert witness.volume(volume["id"])["metadata"] == {}


def test_deleting_a_volume_that_is_still_being_made_waits_for_it(
    by_attachments: CinderVolumes, made: list[str], key: str, instance: str
) -> None:
    volume = by_attachments.create_volume(key, instance, {"size": 1})
    made.append(volume["id"])
    by_attachments.delete_volume(key, volume["id"])
    assert by_attachments.volume_status(volume["id"]) == "deleted"


def test_a_volume_asked_for_twice_is_deleted_twice(
    by_attachments: CinderVolumes, witness: Witness, made: list[str], key: str, instance: str
) -> None:
    made.append(by_attachments.create_volume(key, instance, {"size": 1})["id"])
    assert by_attachments.create_volume(key, instance, {"size": 1})["id"] == made[0]
    # a request that was delayed on its way and arrives as well
    made.append(witness.new_volume(metadata={KEY: key, INSTANCE: instance}))
    by_attachments.delete_volume(key, made[0])
    assert [by_attachments.volume_status(each) for each in made] == ["deleted", "deleted"]


@pytest.mark.parametrize(("action", "happened"), [("drop", False), ("drop-after", True)])
def test_a_volume_whose_answer_was_lost_is_unknown_and_found(
    by_attachments: CinderVolumes, lab: OpenStackLab, made: list[str], key: str, instance: str,
    action: str, happened: bool,
) -> None:  # fmt: skip
    lab.faults.add(Fault("cinder", "POST", "/volumes$", action=action))  # type: ignore[arg-type]
    with pytest.raises(DriverError) as caught:
        by_attachments.create_volume(key, instance, {"size": 1})
    assert caught.value.outcome_unknown
    found = by_attachments.find_volume(key)
    assert (found is not None) == happened
    if found is not None:
        made.append(found["id"])
        by_attachments.delete_volume(key, found["id"])


def test_a_delete_that_cinder_gives_up_is_not_called_done(
    by_attachments: CinderVolumes, witness: Witness, volume_id: str, key: str, instance: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("buildflow.drivers.openstack.cinder._DELETE_WAIT_S", 1.0)
    attachment = by_attachments.reserve(key, volume_id, instance)
    with pytest.raises(DriverError, match=f"volume {volume_id} is reserved and not gone"):
        by_attachments.delete_volume(key, volume_id)
    by_attachments.unreserve(key, volume_id, instance)
    assert attachment


def test_quota(by_attachments: CinderVolumes, witness: Witness, key: str, instance: str) -> None:
    project = by_attachments._cloud.project_id
    try:
        witness.cinder("PUT", f"/os-quota-sets/{project}", {"quota_set": {"volumes": 0}})
        with pytest.raises(QuotaUsedUp) as caught:
            by_attachments.create_volume(key, instance, {"size": 1})
        assert caught.value.code == 413
    finally:
        witness.cinder("PUT", f"/os-quota-sets/{project}", {"quota_set": {"volumes": -1}})
    assert by_attachments.find_volume(key) is None


def test_volumes_go_by_their_id(
    by_attachments: CinderVolumes, new_volume: Callable[..., str], instance: str
) -> None:
    volume_id = new_volume(name="a-name")
    with pytest.raises(NotFound, match=f"a-name is the name of {volume_id}"):
        by_attachments.validate("a-name", instance)
    with pytest.raises(NotFound, match="no volume nowhere"):
        by_attachments.validate("nowhere", instance)


def test_multiattach_volumes_may_be_in_use_or_on_their_way(
    by_attachments: CinderVolumes, witness: Witness, new_volume: Callable[..., str], key: str,
    instance: str,
) -> None:  # fmt: skip
    kind = witness.volume_type("multi", {"multiattach": "<is> True"})
    volume_id = new_volume(volume_type=kind)
    other = "11111111-2222-4333-8444-555555555555"
    by_attachments.reserve("other", volume_id, other)
    row = by_attachments.find_reservation("other", volume_id, other)
    assert row is not None
    assert by_attachments.validate(volume_id, instance)["status"] == "reserved"
    with pytest.raises(Busy, match="current status is reserved"):
        by_attachments.reserve(key, volume_id, instance)
    by_attachments.attach(row, volume_id, other, "vda")
    assert by_attachments.validate(volume_id, instance)["multiattach"] is True
    mine = by_attachments.reserve(key, volume_id, instance)
    by_attachments.unreserve(key, volume_id, instance)
    assert [each["id"] for each in witness.attachments(volume_id)] == [row]
    assert mine != row
    by_attachments.detach(row, volume_id, other)


def test_the_protocol_is_chosen_by_what_cinder_speaks(settings: Settings) -> None:
    assert CinderVolumes(settings).protocol == "attachments"
    assert CinderVolumes(replace(settings, volume_api="legacy")).protocol == "legacy"
    with pytest.raises(BadInput, match="volume_api"):
        CinderVolumes(replace(settings, volume_api="newest"))


def test_an_old_cinder_gets_the_old_protocol(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "buildflow.drivers.openstack.session.Cloud.cinder_microversion", lambda self: (3, 43)
    )
    assert CinderVolumes(settings).protocol == "legacy"
    with pytest.raises(HostUnusable, match=r"3\.43.*volume_api = legacy"):
        _ = CinderVolumes(replace(settings, volume_api="attachments")).protocol


def test_check_says_what_is_wrong(settings: Settings, lab: OpenStackLab) -> None:
    CinderVolumes(settings).check()
    lab.faults.add(Fault("cinder", "GET", "/volumes", action="status", status=503, times=-1))
    with pytest.raises(HostUnusable, match="Cinder cannot be used"):
        CinderVolumes(settings).check()


def test_another_builds_reservation_is_not_taken_for_ours(
    by_legacy: CinderVolumes, witness: Witness, volume_id: str, key: str, instance: str
) -> None:
    # reserved by somebody who leaves no mark: Nova, or a person
    witness.cinder("POST", f"/volumes/{volume_id}/action", {"os-reserve": {}}, "3.0")
    assert by_legacy.find_reservation(key, volume_id, instance) is None
    with pytest.raises(Conflict):
        by_legacy.reserve(key, volume_id, instance)
    by_legacy.unreserve(key, volume_id, instance)
    assert witness.status(volume_id) == "attaching"
    witness.cinder("POST", f"/volumes/{volume_id}/action", {"os-unreserve": {}}, "3.0")
    witness.is_untouched(volume_id)
