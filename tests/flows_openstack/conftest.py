"""The lab with its bridge, one embedded hypervisor, and a bed for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.drivers.embedded import shared_uri
from tests.drivers.openstack.witness import Witness
from tests.flows_openstack.bed import Bed
from tests.lab.directories import open_directory
from tests.lab.guest import GuestImages
from tests.lab.openstack import OpenStackLab


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of it needs the services and a hypervisor, and root for taps in the bridge."""
    for item in items:
        if "flows_openstack" in str(item.path):
            for mark in ("openstack", "libvirt", "root"):
                item.add_marker(mark)


@pytest.fixture(scope="session")
def bridged(openstack_session: OpenStackLab) -> OpenStackLab:
    """The lab, its network real on this host."""
    if os.geteuid() != 0:
        pytest.skip("a bridge needs root")
    if not openstack_session.bridge.exists:
        openstack_session.start_bridge()
    return openstack_session


@pytest.fixture(scope="session")
def all_seeing(bridged: OpenStackLab) -> Witness:
    """The witness, who logs in once."""
    return Witness(bridged)


@pytest.fixture(scope="session")
def guest_image(bridged: OpenStackLab, guest_images: GuestImages) -> str:
    """The guest in Glance: its id."""
    return bridged.upload_image("guest", guest_images.raw, "raw")


@pytest.fixture
def bed(
    bridged: OpenStackLab,
    openstack_lab: OpenStackLab,
    all_seeing: Witness,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Bed]:
    """See Bed."""
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(bridged.clouds_yaml))
    monkeypatch.delenv("OS_CLOUD", raising=False)
    with open_directory("bf-home-") as home:
        bed = Bed(openstack_lab, all_seeing, home, shared_uri())
        yield bed
        bed.remove()
