"""An administrator's eyes: what there is in the services themselves, not in any record of ours."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

from keystoneauth1.service_token import ServiceTokenAuthWrapper

from tests.lab.openstack import NETWORK, OpenStackLab


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

    def attachments_of(self, instance: str) -> list[Any]:
        """The rows of an instance."""
        found = self.cinder("GET", f"/attachments/detail?instance_id={instance}")
        return list(found["attachments"])

    def all_volumes(self) -> list[str]:
        """Ids of all volumes of the project."""
        return [volume["id"] for volume in self.cinder("GET", "/volumes")["volumes"]]

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

    def set_port_down(self, port_id: str) -> None:
        """Make Neutron call a port DOWN, as a host that has lost it would."""
        self._admin.network.update_port(port_id, binding_host_id=None)

    def volume_type(self, name: str, extra_specs: dict[str, str]) -> str:
        """A volume type, made when it is not there."""
        known = self.cinder("GET", "/types")["volume_types"]
        if name not in [kind["name"] for kind in known]:
            kind = {"name": name, "extra_specs": extra_specs}
            self.cinder("POST", "/types", {"volume_type": kind})
        return name

    @staticmethod
    def wait(until: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
        """Wait, with a deadline."""
        end = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < end, f"no {what} within {seconds:g} s"
            time.sleep(0.1)
