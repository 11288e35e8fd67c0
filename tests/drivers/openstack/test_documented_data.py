"""docs/data.md says what the drivers really give."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from buildflow.config import Settings
from buildflow.drivers.openstack.connection_info import has_secret, nested, without_secrets
from buildflow.drivers.openstack.neutron import NeutronPorts
from buildflow.drivers.openstack.vif import SUPPORTED
from buildflow.drivers.protocols import PortRequest
from tests.lab.openstack import NETWORK

PAGE = (Path(__file__).parents[3] / "docs/data.md").read_text()
NETWORK_INFO, FROM_IMAGE, FROM_VOLUME = (
    json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.S)
)


def shape(value: Any) -> Any:
    """The keys of a structure, without its values."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items() if name != "details"}
    if isinstance(value, list):
        return [shape(value[0])] if value and isinstance(value[0], dict) else []
    return None


@pytest.fixture
def ports(settings: Settings) -> Iterator[NeutronPorts]:
    """The network driver."""
    driver = NeutronPorts(settings)
    yield driver
    driver.close()


@pytest.mark.openstack
def test_network_info_is_as_documented(ports: NeutronPorts, key: str, instance: str) -> None:
    port = ports.create_port(key, instance, "web", PortRequest(network=NETWORK))
    try:
        assert shape([ports.bind_port(key, port, "host-a")]) == shape(NETWORK_INFO)
    finally:
        ports.delete_port(key, port)


def test_the_documented_connection_info_is_one_without_its_secret() -> None:
    info = FROM_VOLUME["block_device_mapping"][0]["connection_info"]
    assert nested(info, "") == info
    assert not has_secret(info)
    leaky = {**info, "data": {**info["data"], "auth_password": "x"}}
    assert without_secrets(leaky) == info


def test_both_examples_have_the_same_keys() -> None:
    assert set(FROM_IMAGE) == set(FROM_VOLUME)
    assert FROM_IMAGE["block_device_mapping"] == []


def test_every_supported_vif_type_is_documented() -> None:
    for row in SUPPORTED:
        assert f"`{row.vif_type}`" in PAGE
        assert f"| `{row.becomes}` |" in PAGE
