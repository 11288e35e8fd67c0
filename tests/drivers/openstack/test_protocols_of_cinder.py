"""Both protocols for attaching a volume, against real Cinder and tgtd."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import uuid4

import pytest

from buildflow.config import Settings
from buildflow.drivers.openstack.cinder import CinderVolumes
from buildflow.drivers.protocols import Json
from buildflow.errors import Conflict, DriverError, HostUnusable, NotFound
from tests.drivers.openstack.conftest import CONNECTOR
from tests.drivers.openstack.witness import Witness
from tests.lab.openstack import Fault, OpenStackLab

pytestmark = pytest.mark.openstack


def attach_all(volumes: CinderVolumes, key: str, volume_id: str, instance: str) -> tuple[str, Json]:
    """All three steps."""
    attachment = volumes.reserve(key, volume_id, instance)
    info = volumes.initialize_connection(attachment, volume_id, CONNECTOR, "vda")
    volumes.attach(attachment, volume_id, instance, "vda")
    return attachment, info


def undo_all(
    volumes: CinderVolumes, key: str, attachment: str, volume_id: str, instance: str
) -> None:
    """All three undos, in the order of a rollback."""
    volumes.detach(attachment, volume_id, instance)
    volumes.terminate_connection(attachment, volume_id, CONNECTOR)
    volumes.unreserve(key, volume_id, instance)


def test_the_three_steps_are_found_one_by_one_and_undone(
    volumes: CinderVolumes, witness: Witness, volume_id: str, key: str, instance: str
) -> None:
    assert volumes.find_reservation(key, volume_id, instance) is None
    attachment = volumes.reserve(key, volume_id, instance)
    assert volumes.find_reservation(key, volume_id, instance) == attachment
    assert witness.status(volume_id) in ("reserved", "attaching")

    assert volumes.find_attachment(attachment, volume_id, CONNECTOR) is None
    info = volumes.initialize_connection(attachment, volume_id, CONNECTOR, "vda")
    assert volumes.find_attachment(attachment, volume_id, CONNECTOR) == info
    assert witness.lab.tgt.target_of(volume_id) is not None

    assert not volumes.find_attached(attachment, volume_id, instance)
    volumes.attach(attachment, volume_id, instance, "vda")
    assert volumes.find_attached(attachment, volume_id, instance)
    assert witness.status(volume_id) == "in-use"

    volumes.detach(attachment, volume_id, instance)
    assert not volumes.find_attached(attachment, volume_id, instance)
    volumes.terminate_connection(attachment, volume_id, CONNECTOR)
    assert volumes.find_attachment(attachment, volume_id, CONNECTOR) is None
    volumes.unreserve(key, volume_id, instance)
    assert volumes.find_reservation(key, volume_id, instance) is None
    witness.is_untouched(volume_id)


def test_connection_info_has_the_documented_shape_and_no_secret(
    volumes: CinderVolumes, volume_id: str, key: str, instance: str
) -> None:
    attachment, info = attach_all(volumes, key, volume_id, instance)
    assert set(info) == {"driver_volume_type", "serial", "data"}
    assert info["driver_volume_type"] == "iscsi"
    assert info["serial"] == volume_id
    data = info["data"]
    assert data["target_iqn"].endswith(f"volume-{volume_id}")
    assert data["target_lun"] == 1
    assert data["auth_method"] == "CHAP"
    assert data["auth_username"]
    assert "auth_password" not in data
    assert json.loads(json.dumps(info)) == info

    full = volumes.connection_secrets(attachment, volume_id, CONNECTOR)
    assert full["data"]["auth_username"] == data["auth_username"]
    assert full["data"]["auth_password"]
    assert full["data"]["auth_password"] not in json.dumps(info)
    undo_all(volumes, key, attachment, volume_id, instance)


def test_a_volume_that_cinder_calls_read_only(
    volumes: CinderVolumes, witness: Witness, volume_id: str, key: str, instance: str
) -> None:
    flag = {"os-update_readonly_flag": {"readonly": True}}
    witness.cinder("POST", f"/volumes/{volume_id}/action", flag)
    attachment, info = attach_all(volumes, key, volume_id, instance)
    assert info["data"]["access_mode"] == "ro"
    undo_all(volumes, key, attachment, volume_id, instance)
    witness.is_untouched(volume_id)


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_undoing_whatever_was_reached_leaves_nothing(
    volumes: CinderVolumes, witness: Witness, volume_id: str, key: str, instance: str, steps: int
) -> None:
    attachment = volumes.reserve(key, volume_id, instance) if steps else "none/none"
    if steps >= 2:
        volumes.initialize_connection(attachment, volume_id, CONNECTOR, "vda")
    if steps >= 3:
        volumes.attach(attachment, volume_id, instance, "vda")
    for _ in range(2):  # an undo may run again after a crash
        undo_all(volumes, key, attachment, volume_id, instance)
        witness.is_untouched(volume_id)


def test_steps_done_twice_leave_nothing_more_to_undo(
    volumes: CinderVolumes, witness: Witness, volume_id: str, key: str, instance: str
) -> None:
    attachment, info = attach_all(volumes, key, volume_id, instance)
    again = volumes.initialize_connection(attachment, volume_id, CONNECTOR, "vda")
    assert again == info
    volumes.attach(attachment, volume_id, instance, "vda")
    assert volumes.find_reservation(key, volume_id, instance) == attachment
    undo_all(volumes, key, attachment, volume_id, instance)
    witness.is_untouched(volume_id)


def test_of_two_that_race_for_one_volume_exactly_one_wins(
    volumes: CinderVolumes, witness: Witness, volume_id: str
) -> None:
    instances = [str(uuid4()) for _ in range(4)]
    keys = {one: str(uuid4()) for one in instances}

    def reserve(one: str) -> str | Conflict:
        try:
            return volumes.reserve(keys[one], volume_id, one)
        except Conflict as error:
            return error

    with ThreadPoolExecutor(4) as pool:
        results = dict(zip(instances, pool.map(reserve, instances), strict=True))
    winners = [one for one, result in results.items() if isinstance(result, str)]
    assert len(winners) == 1
    for one in instances:
        found = volumes.find_reservation(keys[one], volume_id, one)
        assert (found is not None) == (one in winners)
    # a loser's rollback must not let go of what the winner holds
    for one in instances:
        if one not in winners:
            undo_all(volumes, keys[one], "none/" + one, volume_id, one)
    attachment = str(results[winners[0]])
    volumes.initialize_connection(attachment, volume_id, CONNECTOR, "vda")
    volumes.attach(attachment, volume_id, winners[0], "vda")
    for one in instances:
        if one not in winners:
            undo_all(volumes, keys[one], "none/" + one, volume_id, one)
    assert volumes.find_attached(attachment, volume_id, winners[0])
    undo_all(volumes, keys[winners[0]], attachment, volume_id, winners[0])
    witness.is_untouched(volume_id)


def test_a_volume_in_use_elsewhere_is_a_conflict(
    volumes: CinderVolumes, witness: Witness, volume_id: str, key: str, instance: str
) -> None:
    other = str(uuid4())
    attachment, _ = attach_all(volumes, str(uuid4()), volume_id, other)
    with pytest.raises(Conflict, match="in-use"):
        volumes.validate(volume_id, instance)
    with pytest.raises(Conflict, match="must be available"):
        volumes.reserve(key, volume_id, instance)
    assert volumes.validate(volume_id, other)["status"] == "in-use"  # its own build, resumed
    volumes.unreserve(key, volume_id, instance)
    assert volumes.find_attached(attachment, volume_id, other)


@pytest.mark.parametrize("status", ["error", "creating", "maintenance"])
def test_a_volume_in_a_bad_state_is_refused_before_anything_is_done(
    volumes: CinderVolumes, witness: Witness, volume_id: str, instance: str, status: str
) -> None:
    witness.reset_status(volume_id, status)
    with pytest.raises(Conflict, match=status):
        volumes.validate(volume_id, instance)


def test_a_volume_that_turned_to_error_after_validation_leaves_nothing(
    volumes: CinderVolumes, witness: Witness, volume_id: str, key: str, instance: str
) -> None:
    volumes.validate(volume_id, instance)
    witness.reset_status(volume_id, "error")
    with pytest.raises(Conflict):
        volumes.reserve(key, volume_id, instance)
    witness.reset_status(volume_id, "available")
    volumes.unreserve(key, volume_id, instance)
    witness.is_untouched(volume_id)


def test_a_volume_deleted_in_mid_build(
    volumes: CinderVolumes, witness: Witness, volume_id: str, key: str, instance: str
) -> None:
    volumes.validate(volume_id, instance)
    witness.remove_volume(volume_id)
    with pytest.raises(NotFound):
        volumes.reserve(key, volume_id, instance)
    assert volumes.find_reservation(key, volume_id, instance) is None
    undo_all(volumes, key, f"{volume_id}/{instance}", volume_id, instance)
    assert volumes.volume_status(volume_id) == "deleted"


# --- answers that go wrong -----------------------------------------------------------------------

_STEP_PATHS = {
    "attachments": {
        "connect": ("PUT", "/attachments/", ""),
        "undo": ("DELETE", "/attachments/", ""),
    },
    "legacy": {
        "connect": ("POST", "/action", "os-initialize_connection"),
        "undo": ("POST", "/action", "os-terminate_connection"),
    },
}


def fault(volumes: CinderVolumes, step: str, **what: object) -> Fault:
    """A fault on one of the protocol's calls."""
    method, path, body = _STEP_PATHS[volumes.protocol][step]
    return Fault("cinder", method, path, body, **what)  # type: ignore[arg-type]


@pytest.mark.parametrize("action", ["status", "status-after", "drop", "drop-after"])
@pytest.mark.parametrize("times", [1, 2])
def test_what_may_be_repeated_survives_errors_and_lost_answers(
    volumes: CinderVolumes,
    witness: Witness,
    volume_id: str,
    key: str,
    instance: str,
    action: str,
    times: int,
) -> None:
    faults = witness.lab.faults
    faults.add(fault(volumes, "connect", action=action, times=times))
    faults.add(fault(volumes, "undo", action=action, times=times))
    attachment, _ = attach_all(volumes, key, volume_id, instance)
    undo_all(volumes, key, attachment, volume_id, instance)
    assert faults.pending() == 0
    witness.is_untouched(volume_id)


def test_500_always_is_an_error_that_says_so_and_rolls_back(
    volumes: CinderVolumes, witness: Witness, volume_id: str, key: str, instance: str
) -> None:
    attachment = volumes.reserve(key, volume_id, instance)
    witness.lab.faults.add(fault(volumes, "connect", times=-1))
    with pytest.raises(DriverError, match="cannot connect volume") as caught:
        volumes.initialize_connection(attachment, volume_id, CONNECTOR, "vda")
    assert caught.value.code == 500
    assert not caught.value.outcome_unknown
    asked = [seen for seen in witness.lab.faults.requests() if seen.fault]
    assert len(asked) == 5
    witness.lab.faults.clear()
    undo_all(volumes, key, attachment, volume_id, instance)
    witness.is_untouched(volume_id)


def test_500_always_on_the_undo_raises_and_the_next_undo_finishes(
    volumes: CinderVolumes, witness: Witness, volume_id: str, key: str, instance: str
) -> None:
    attachment, _ = attach_all(volumes, key, volume_id, instance)
    witness.lab.faults.add(fault(volumes, "undo", times=-1))
    with pytest.raises(DriverError):
        undo_all(volumes, key, attachment, volume_id, instance)
    assert witness.status(volume_id) in ("in-use", "detaching")
    witness.lab.faults.clear()
    undo_all(volumes, key, attachment, volume_id, instance)
    witness.is_untouched(volume_id)


@pytest.mark.parametrize(
    ("action", "happened"), [("drop", False), ("drop-after", True), ("hang", False)]
)
def test_a_reservation_whose_answer_was_lost_is_unknown_and_found(
    volumes: CinderVolumes,
    witness: Witness,
    volume_id: str,
    key: str,
    instance: str,
    action: str,
    happened: bool,
) -> None:
    if action == "hang":
        volumes._cloud.connection.session.timeout = 1.0
    path, body = (
        ("/attachments", "") if volumes.protocol == "attachments" else ("/action", "os-reserve")
    )
    witness.lab.faults.add(Fault("cinder", "POST", path, body, action=action))  # type: ignore[arg-type]
    with pytest.raises(DriverError) as caught:
        volumes.reserve(key, volume_id, instance)
    assert caught.value.outcome_unknown
    assert (volumes.find_reservation(key, volume_id, instance) is not None) == happened
    volumes.unreserve(key, volume_id, instance)
    witness.is_untouched(volume_id)


def test_a_gateways_timeout_is_unknown_too(
    by_attachments: CinderVolumes, witness: Witness, volume_id: str, key: str, instance: str
) -> None:
    late = Fault("cinder", "POST", "/attachments", action="status-after", status=504)
    witness.lab.faults.add(late)
    with pytest.raises(DriverError) as caught:
        by_attachments.reserve(key, volume_id, instance)
    assert caught.value.outcome_unknown
    assert caught.value.code == 504
    assert by_attachments.find_reservation(key, volume_id, instance) is not None
    by_attachments.unreserve(key, volume_id, instance)
    witness.is_untouched(volume_id)


def test_a_service_that_is_down_was_never_reached(
    by_attachments: CinderVolumes, lab: OpenStackLab, volume_id: str, key: str, instance: str
) -> None:
    by_attachments.validate(volume_id, instance)
    endpoint = f"http://127.0.0.1:{lab.ports.base + 19}/v3/x"
    by_attachments._cloud.cinder("3.44").client.endpoint_override = endpoint
    with pytest.raises(DriverError) as caught:
        by_attachments.reserve(key, volume_id, instance)
    assert not caught.value.outcome_unknown


def test_a_second_row_made_by_a_lost_answer_goes_as_well(
    by_attachments: CinderVolumes, witness: Witness, volume_id: str, key: str, instance: str
) -> None:
    first = by_attachments.reserve(key, volume_id, instance)
    assert by_attachments.reserve(key, volume_id, instance) == first
    # a request that was delayed on its way and arrives as well
    row = {"volume_uuid": volume_id, "instance_uuid": instance, "connector": None}
    witness.cinder("POST", "/attachments", {"attachment": row})
    assert len(witness.attachments(volume_id)) == 2
    by_attachments.unreserve(key, volume_id, instance)
    witness.is_untouched(volume_id)


def test_tokens_that_expire_in_mid_build_are_renewed(
    volumes: CinderVolumes, witness: Witness, volume_id: str, key: str, instance: str
) -> None:
    attachment = volumes.reserve(key, volume_id, instance)
    witness.lab.expire_tokens()
    volumes.initialize_connection(attachment, volume_id, CONNECTOR, "vda")
    witness.lab.expire_tokens()
    volumes.attach(attachment, volume_id, instance, "vda")
    witness.lab.expire_tokens()
    undo_all(volumes, key, attachment, volume_id, instance)
    witness.is_untouched(volume_id)


def test_tokens_that_expire_under_many_threads_are_renewed(
    by_attachments: CinderVolumes, lab: OpenStackLab, volume_id: str
) -> None:
    by_attachments.volume_status(volume_id)
    for _ in range(5):
        lab.expire_tokens()
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(by_attachments.volume_status, [volume_id] * 8))
        assert found == ["available"] * 8


@pytest.mark.parametrize("attached", [False, True])
def test_nobody_gets_a_volume_that_is_half_undone(
    by_legacy: CinderVolumes, witness: Witness, volume_id: str, key: str, instance: str,
    attached: bool,
) -> None:  # fmt: skip
    attachment = by_legacy.reserve(key, volume_id, instance)
    by_legacy.initialize_connection(attachment, volume_id, CONNECTOR, "vda")
    if attached:
        by_legacy.attach(attachment, volume_id, instance, "vda")
    by_legacy.detach(attachment, volume_id, instance)
    with pytest.raises(Conflict):
        by_legacy.reserve(str(uuid4()), volume_id, str(uuid4()))
    witness.lab.faults.add(Fault("cinder", "POST", "/action", "os-detach", times=-1))
    with pytest.raises(DriverError):
        by_legacy.terminate_connection(attachment, volume_id, CONNECTOR)
    with pytest.raises(Conflict):
        by_legacy.reserve(str(uuid4()), volume_id, str(uuid4()))
    witness.lab.faults.clear()
    undo_all(by_legacy, key, attachment, volume_id, instance)
    witness.is_untouched(volume_id)


def test_a_killed_tgtd_does_not_keep_a_volume(
    volumes: CinderVolumes, witness: Witness, volume_id: str, key: str, instance: str
) -> None:
    attachment, _ = attach_all(volumes, key, volume_id, instance)
    witness.lab.tgt.kill9()
    try:
        undo_all(volumes, key, attachment, volume_id, instance)
    except DriverError:
        pass  # while it is down Cinder may say that it cannot; nothing may be claimed then
    finally:
        witness.lab.tgt.start()
    undo_all(volumes, key, attachment, volume_id, instance)
    witness.is_untouched(volume_id)


# --- the service token ---------------------------------------------------------------------------


def test_without_a_service_token_nothing_is_attached(
    settings: Settings, witness: Witness, volume_id: str, instance: str
) -> None:
    plain = CinderVolumes(replace(settings, os_service_cloud=None, volume_api="attachments"))
    with pytest.raises(HostUnusable, match="--os-service-cloud"):
        plain.validate(volume_id, instance)
    with pytest.raises(HostUnusable, match="service token"):
        plain.check()
    witness.is_untouched(volume_id)


def test_a_service_identity_without_the_role_is_refused(
    settings: Settings, volume_id: str, instance: str
) -> None:
    wrong = CinderVolumes(replace(settings, os_service_cloud="lab"))
    with pytest.raises(HostUnusable, match="role 'service'"):
        wrong.validate(volume_id, instance)


def test_a_user_with_the_role_vouches_for_itself(
    settings: Settings, witness: Witness, volume_id: str, key: str, instance: str
) -> None:
    admin = CinderVolumes(replace(settings, os_cloud="labadmin", os_service_cloud=None))
    admin.validate(volume_id, instance)
    attachment, _ = attach_all(admin, key, volume_id, instance)
    undo_all(admin, key, attachment, volume_id, instance)
    witness.is_untouched(volume_id)


def test_the_documented_protocol_needs_no_service_token(
    settings: Settings, witness: Witness, volume_id: str, key: str, instance: str
) -> None:
    plain = CinderVolumes(replace(settings, os_service_cloud=None, volume_api="legacy"))
    plain.validate(volume_id, instance)
    attachment, _ = attach_all(plain, key, volume_id, instance)
    undo_all(plain, key, attachment, volume_id, instance)
    witness.is_untouched(volume_id)


def test_what_cinder_says_to_a_plain_tenant_names_the_cure(
    settings: Settings, by_attachments: CinderVolumes, witness: Witness, volume_id: str, key: str,
    instance: str,
) -> None:  # fmt: skip
    attachment, _ = attach_all(by_attachments, key, volume_id, instance)
    plain = CinderVolumes(replace(settings, os_service_cloud=None, volume_api="attachments"))
    with pytest.raises(DriverError, match="--os-service-cloud"):
        plain.detach(attachment, volume_id, instance)
    undo_all(by_attachments, key, attachment, volume_id, instance)
    witness.is_untouched(volume_id)


def test_secrets_stay_out_of_the_log_at_its_most_talkative(
    volumes: CinderVolumes,
    volume_id: str,
    key: str,
    instance: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    attachment, _ = attach_all(volumes, key, volume_id, instance)
    secret = volumes.connection_secrets(attachment, volume_id, CONNECTOR)["data"]["auth_password"]
    undo_all(volumes, key, attachment, volume_id, instance)
    assert volume_id in caplog.text
    assert secret not in caplog.text


def test_the_inventory_has_each_attachment_from_reservation_to_its_end(
    volumes: CinderVolumes, new_volume: Callable[..., str], key: str, instance: str
) -> None:
    volume_id = new_volume()

    def listed() -> list[tuple[str, str, str]]:
        return [
            (thing.kind, thing.id, thing.detail["status"])
            for thing in volumes.inventory()
            if thing.detail.get("instance") == instance
        ]

    assert listed() == []
    attachment = volumes.reserve(key, volume_id, instance)
    [reserved] = listed()
    assert reserved[:2] == ("reservation", attachment)
    volumes.initialize_connection(attachment, volume_id, CONNECTOR, "vda")
    volumes.attach(attachment, volume_id, instance, "vda")
    [attached] = listed()
    assert attached[:2] == reserved[:2]
    assert attached[2] in ("attached", "in-use")
    undo_all(volumes, key, attachment, volume_id, instance)
    assert listed() == []


def test_a_long_list_of_attachments_is_read_to_its_end(
    by_attachments: CinderVolumes,
    new_volume: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("buildflow.drivers.openstack.attachments._PAGE", 2)
    instances = [str(uuid4()) for _ in range(5)]
    volumes = [new_volume() for _ in instances]
    made = [
        by_attachments.reserve("", volume_id, instance)
        for volume_id, instance in zip(volumes, instances, strict=True)
    ]
    listed = {thing.id for thing in by_attachments.inventory() if thing.kind == "reservation"}
    assert set(made) <= listed
    for volume_id, instance in zip(volumes, instances, strict=True):
        by_attachments.unreserve("", volume_id, instance)
