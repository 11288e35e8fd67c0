"""From options to a request: NICs and volumes in their short forms."""

from __future__ import annotations

import pytest

from buildflow.cli.request import build_request
from buildflow.errors import BadInput


def inputs(**options: object) -> dict[str, object]:
    return build_request(name="vm", **options).inputs()  # type: ignore[arg-type]


def test_nics_come_as_network_port_nic() -> None:
    made = inputs(
        image="x", networks=["a"], ports=["p"], nics=["network=b,ip=10.0.0.5,mac=52:54:00:0A:0B:0C"]
    )
    assert made["networks"] == [
        {"network": "a"},
        {"port_id": "p"},
        {"network": "b", "fixed_ip": "10.0.0.5", "mac": "52:54:00:0a:0b:0c"},
    ]


def test_no_network_at_all() -> None:
    made = inputs(image="x", networks=["none"])
    assert made["no_network"] is True
    assert "networks" not in made


def test_volumes_given_and_made() -> None:
    made = inputs(
        boot_volume="root,delete",
        volumes=["data", "old,ro=yes,delete=no"],
        new_volumes=["size=2,image=i,delete"],
    )
    assert made["boot_volume"] == {"id": "root", "delete_on_termination": True}
    assert made["volumes"] == [
        {"id": "data"},
        {"id": "old", "read_only": True},
        {"size": 2, "image_id": "i", "delete_on_termination": True},
    ]


def test_a_new_volume_to_boot_from() -> None:
    made = inputs(new_volumes=["size=3,snapshot=s,boot"])
    assert made["boot_volume"] == {"size": 3, "snapshot_id": "s"}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"image": "x", "networks": ["none", "a"]}, "--network none goes with no other"),
        ({"image": "x", "networks": ["none"], "ports": ["p"]}, "--network none goes with no other"),
        ({"image": "x", "nics": ["network"]}, "network needs a value, as in network=..."),
        ({"image": "x", "nics": ["speed=9"]}, "'speed' is none of network, ip, mac, port"),
        ({"image": "x", "volumes": ["v,ro=perhaps"]}, "ro is yes or no, not 'perhaps'"),
        ({"image": "x", "volumes": [",ro"]}, "--volume needs a volume's id"),
        ({"image": "x", "new_volumes": ["image=i"]}, "a volume to be made needs a size in GiB"),
        ({"new_volumes": ["size=1,boot", "size=2,boot"]}, "only one volume can be booted from"),
        ({"boot_volume": "a", "new_volumes": ["size=2,boot"]}, "only one volume can be booted"),
        ({"image": "x", "memory_mib": 0}, "--memory: must be at least 1, not 0"),
        ({"image": "x", "new_volumes": ["size=0"]}, "--volume: must be at least 1, not 0"),
    ],
)
def test_what_will_not_do(options: dict[str, object], told: str) -> None:
    with pytest.raises(BadInput) as caught:
        inputs(**options)
    assert told in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
