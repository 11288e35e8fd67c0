"""connection_info: one shape out of two, and no secret."""

from __future__ import annotations

import json

import pytest

from buildflow.drivers.openstack.connection_info import has_secret, nested, without_secrets

VOLUME = "8fc07771-130e-4fc4-8cb0-0d47bc316cd4"
DATA = {
    "access_mode": "rw",
    "target_discovered": False,
    "encrypted": False,
    "qos_specs": None,
    "target_iqn": f"iqn.2010-10.org.openstack:volume-{VOLUME}",
    "target_portal": "186.100.21.222:3260",
    "volume_id": VOLUME,
    "target_lun": 1,
    "auth_password": "2goCZgd7Wb7sLwLBhA73",
    "auth_username": "2sXoCUUoZcpajxK2L7T8",
    "auth_method": "CHAP",
}
DOCUMENTED = {"driver_volume_type": "iscsi", "serial": VOLUME, "data": DATA}


def test_the_old_protocols_shape() -> None:
    assert nested({"driver_volume_type": "iscsi", "data": DATA}, VOLUME) == DOCUMENTED


def test_the_attachments_apis_shape() -> None:
    assert nested({"driver_volume_type": "iscsi", **DATA}, VOLUME) == DOCUMENTED


def test_the_documented_shape_is_its_own() -> None:
    assert nested(DOCUMENTED, "another") == DOCUMENTED


def test_what_nova_adds_round_the_flat_shape_is_not_data() -> None:
    flat = {"driver_volume_type": "iscsi", "status": "attached", "instance": "x", **DATA}
    assert nested(flat, VOLUME) == DOCUMENTED


def test_the_source_is_not_changed() -> None:
    before = json.dumps(DOCUMENTED)
    info = nested(DOCUMENTED, VOLUME)
    info["data"]["target_lun"] = 2
    without_secrets(DOCUMENTED)
    assert json.dumps(DOCUMENTED) == before


def test_only_the_password_goes() -> None:
    public = without_secrets(DOCUMENTED)
    assert public == {
        **DOCUMENTED,
        "data": {name: value for name, value in DATA.items() if name != "auth_password"},
    }
    assert has_secret(DOCUMENTED)
    assert not has_secret(public)


@pytest.mark.parametrize(
    "secret",
    ["auth_password", "discovery_auth_password", "keyring", "encryption_passphrase", "auth_token"],
)
def test_secrets_go_at_any_depth(secret: str) -> None:
    info = {"driver_volume_type": "x", "data": {"a": [{"b": {secret: "hush"}}], secret: "hush"}}
    assert "hush" not in json.dumps(without_secrets(info))


def test_rbds_names_of_a_secret_are_none() -> None:
    info = {"data": {"secret_type": "ceph", "secret_uuid": "u", "auth_username": "cinder"}}
    assert without_secrets(info) == info
