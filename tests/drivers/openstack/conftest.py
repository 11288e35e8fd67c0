"""One real OpenStack for all tests of this folder, and a witness that sees it with its own eyes."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from keystoneauth1.service_token import ServiceTokenAuthWrapper

from buildflow.config import Settings
from buildflow.drivers.openstack.cinder import CinderVolumes
from buildflow.drivers.openstack.session import Cloud
from tests.lab.openstack import NETWORK, OpenStackLab

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


class Witness:
    """What there is, as an administrator sees it in the services themselves."""

    def __init__(self, lab: OpenStackLab) -> None:
        self.lab = lab
        self._admin = lab.connect("labadmin")
        session = self._admin.session
        session.auth = ServiceTokenAuthWrapper(session.auth, lab.connect("labsvc").session.auth)
        self.network_id = self._admin.network.find_network(NETWORK).id

    def cinder(self, method: str, path: str, body: Any = None, version: str = "3.70") -> Any:
        """One request with both identities, so that nothing is refused."""
        answer = self._admin.block_storage.request(
            path,
            method,
            json=body,
            microversion=version,
        )
        if answer.status_code >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    def new_volume(self, size: int = 1, **attributes: Any) -> str:
        """A volume of the tenant's that is available."""
        body = {"volume": {"size": size, "name": f"test-{uuid.uuid4()}", **attributes}}
        made = self.cinder("POST", "/volumes", body)["volume"]["id"]
        self.wait(lambda: self.status(made) == "available", f"volume {made} available")
        return str(made)

    def volume(self, volume_id: str) -> Any:
        """The volume, None when there is none."""
        try:
            return self.cinder("GET", f"/volumes/{volume_id}")["volume"]
        except RuntimeError as error:
            if " 404 " in str(error):
                return None
            raise

    def status(self, volume_id: str) -> str:
        """Its status."""
        volume = self.volume(volume_id)
        return "deleted" if volume is None else str(volume["status"])

    def reset_status(self, volume_id: str, status: str) -> None:
        """Make Cinder believe something else."""
        body = {"os-reset_status": {"status": status}}
        self.cinder("POST", f"/volumes/{volume_id}/action", body)

    def attachments(self, volume_id: str) -> list[Any]:
        """The rows of a volume."""
        found = self.cinder("GET", f"/attachments/detail?volume_id={volume_id}")
        return list(found["attachments"])

    def is_untouched(self, volume_id: str) -> None:
        """Assert that a volume is as it was made: available, no rows, no export, no marks."""
        volume = self.volume(volume_id)
        assert volume is not None
        assert volume["status"] == "available"
        assert self.attachments(volume_id) == []
        assert volume["attachments"] == []
        assert self.lab.tgt.target_of(volume_id) is None
        assert not [name for name in volume["metadata"] if name.startswith("buildflow")]

    def remove_volume(self, volume_id: str) -> None:
        """Take a volume away whatever it is in."""
        if self.volume(volume_id) is None:
            return
        for row in self.attachments(volume_id):
            self.cinder("DELETE", f"/attachments/{row['id']}")
        body = {"os-reset_status": {"status": "available", "attach_status": "detached"}}
        self.cinder("POST", f"/volumes/{volume_id}/action", body)
        self.cinder("DELETE", f"/volumes/{volume_id}")
        self.wait(lambda: self.volume(volume_id) is None, f"volume {volume_id} gone")

    def ports(self) -> list[Any]:
        """All ports of the lab's network."""
        return list(self._admin.network.ports(network_id=self.network_id))

    def port(self, port_id: str) -> Any:
        """One port with its binding, None when there is none."""
        return self._admin.network.find_port(port_id)

    def new_port(self, **attributes: Any) -> Any:
        """A port of the tenant's own."""
        return self._admin.network.create_port(network_id=self.network_id, **attributes)

    def remove_port(self, port_id: str) -> None:
        """Take a port away."""
        self._admin.network.delete_port(port_id)

    @staticmethod
    def wait(until: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
        """Wait, with a deadline."""
        end = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < end, f"no {what} within {seconds:g} s"
            time.sleep(0.1)


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
