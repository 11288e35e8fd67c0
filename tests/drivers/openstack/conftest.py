"""One real OpenStack for all tests of this folder, and a witness that sees it with its own eyes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from buildflow.config import Settings
from buildflow.drivers.openstack.cinder import CinderVolumes
from buildflow.drivers.openstack.session import Cloud
from tests.drivers.openstack.witness import Witness
from tests.lab.openstack import OpenStackLab

CONNECTOR = {
    "platform": "x86_64",
    "os_type": "linux",
    "ip": "127.0.0.1",
    "host": "host-a",
    "initiator": "iqn.2008-11.org.linux-kvm:host-a",
    "multipath": False,
    "enforce_multipath": True,
}


@pytest.fixture
def lab(openstack_lab: OpenStackLab, monkeypatch: pytest.MonkeyPatch) -> OpenStackLab:
    """The lab, with its clouds.yaml in the environment."""
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(openstack_lab.clouds_yaml))
    monkeypatch.delenv("OS_CLOUD", raising=False)
    return openstack_lab


@pytest.fixture
def settings(lab: OpenStackLab, tmp_path: Path) -> Settings:
    """A tenant with a service identity beside it."""
    return Settings(home=tmp_path / "home", os_cloud="lab", os_service_cloud="labsvc")


@pytest.fixture
def cloud(settings: Settings) -> Iterator[Cloud]:
    """That tenant's cloud."""
    cloud = Cloud(settings)
    yield cloud
    cloud.close()


@pytest.fixture(params=["attachments", "legacy"])
def volumes(request: pytest.FixtureRequest, settings: Settings) -> Iterator[CinderVolumes]:
    """The volume driver, by each of the two protocols."""
    driver = CinderVolumes(replace(settings, volume_api=request.param))
    yield driver
    driver.close()


@pytest.fixture
def by_attachments(settings: Settings) -> Iterator[CinderVolumes]:
    """The volume driver, by the attachments API."""
    driver = CinderVolumes(replace(settings, volume_api="attachments"))
    yield driver
    driver.close()


@pytest.fixture
def by_legacy(settings: Settings) -> Iterator[CinderVolumes]:
    """The volume driver, by the documented protocol."""
    driver = CinderVolumes(replace(settings, volume_api="legacy"))
    yield driver
    driver.close()


@pytest.fixture
def instance() -> str:
    """A uuid that no service has seen yet."""
    return str(uuid.uuid4())


@pytest.fixture
def key() -> str:
    """An effect's key."""
    return str(uuid.uuid4())


@pytest.fixture(scope="session")
def all_seeing(openstack_session: OpenStackLab) -> Witness:
    """The witness, who logs in once."""
    return Witness(openstack_session)


@pytest.fixture
def witness(lab: OpenStackLab, all_seeing: Witness) -> Witness:
    """See Witness."""
    return all_seeing


@pytest.fixture
def new_volume(witness: Witness) -> Iterator[Callable[..., str]]:
    """Makes volumes that are gone after the test, whatever it did with them."""
    made: list[str] = []

    def make(**attributes: Any) -> str:
        made.append(witness.new_volume(**attributes))
        return made[-1]

    yield make
    witness.lab.faults.clear()
    for volume_id in made:
        witness.remove_volume(volume_id)


@pytest.fixture
def volume_id(new_volume: Callable[..., str]) -> str:
    """One volume of 1 GiB, available."""
    return new_volume()
