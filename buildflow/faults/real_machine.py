"""The machine of a comparison with real services: its settings, its request, and what it needs.

On the embedded hypervisor alone it needs an image. On a cloud it also has ports of Neutron's and
volumes of Cinder's; those that a user would give are made for it, and deleted again.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from buildflow.config import Settings
from buildflow.drivers.protocols import Json
from buildflow.errors import BadInput, BuildflowError, HostUnusable
from buildflow.faults.ending import row_word, status_word
from buildflow.faults.real import RealWorld, in_child
from buildflow.faults.scene_names import Asked

MEMORY_MIB: Final = 96
_VOLUME_GIB: Final = 1
_VOLUME_NAME: Final = "buildflow-faults"
_AVAILABLE_S: Final = 120.0
_POLL_S: Final = 0.2
# made for a build: its key and its instance stand in the metadata
_INSTANCE: Final = "buildflow:instance"


@contextmanager
def real_machine(
    settings: Settings,
    home: Path,
    asked: Asked,
    *,
    image: str | None = None,
    network: str | None = None,
) -> Iterator[RealWorld]:
    """Where plans for the machine `asked` are played; `home` is an empty folder open to QEMU.

    `image` is a file, or an image's name where the cloud has images; `network` a network's name or
    id. Raises BadInput for what can't be played, HostUnusable when a service can't be used; then
    nothing is left. What the plans have left, and the volumes, are removed at the end.
    """
    _refuse(settings, asked, image)
    chosen = replace(
        settings, home=home, boot_grace_s=0.1, undo_timeout_s=5.0,
        block_device_allocate_retries_interval_s=0.3,
        volume_api=asked.api if settings.os_cloud else settings.volume_api,
        volume_attach=asked.attach if settings.os_cloud else settings.volume_attach,
    )  # fmt: skip
    nics: list[Json] = [{"network": network} for _ in range(asked.nics)]
    request: Json = {
        "networks": nics, "no_network": not nics, "memory_mib": MEMORY_MIB, "volumes": [],
    }  # fmt: skip
    if asked.boot == "image":
        request["image"] = image
    made = {"size": _VOLUME_GIB, "delete_on_termination": True}
    world = RealWorld(chosen, request, deleting=asked.delete)
    world.get_ready()
    if settings.os_cloud is None:
        world.unlisted = frozenset({"binding"})  # a port in user mode is bound to nothing
        in_child(world.require)
        yield world
        return
    # before a volume is made: of those that boot it only their being there would be asked
    in_child(RealWorld(chosen, {**request, "volumes": [made]}).require)
    volumes = CloudVolumes(chosen, asked.volumes)

    def supply() -> None:
        ids = in_child(volumes.make)
        disks: list[Json] = [{"id": each} for each in ids]
        if asked.boot == "volume":
            request["boot_volume"] = disks.pop(0)
        request["volumes"] = [*disks, made] if asked.made else disks
        world.witnesses = (*extra(), CloudWitness(chosen, ids))

    def extra() -> list[Any]:
        return [each for each in world.witnesses if not isinstance(each, CloudWitness)]

    def mend() -> None:
        if not in_child(volumes.untouched):
            volumes.renew()
            supply()

    try:
        supply()
        world.idle = {status_word("available"): asked.volumes}
        world.mend = mend
        yield world
    finally:
        left = in_child(volumes.delete)
        if left:
            raise HostUnusable(f"not everything could be deleted again: {'; '.join(left)}")


def _refuse(settings: Settings, asked: Asked, image: str | None) -> None:
    if asked.hosts > 1:
        raise BadInput("--real has one host; leave --hosts out")
    if settings.os_cloud is None and (asked.volumes or asked.made):
        raise BadInput("--real takes volumes from a cloud: name it with --os-cloud")
    if asked.boot == "volume":
        if image is not None:
            raise BadInput("a machine that boots from a volume takes no --image")
    elif image is None or (settings.os_cloud is None and not Path(image).is_file()):
        raise BadInput("--real needs the guest's image: --image FILE")


class CloudVolumes:
    """Blank volumes of the project's, known by keys from before they are made.

    `make`, `untouched` and `delete` are each for a process of its own, which takes its connections
    with it when it ends.
    """

    def __init__(self, settings: Settings, count: int) -> None:
        self._settings, self._count = settings, count
        self._session = str(uuid.uuid4())
        self._old: list[str] = []
        self._keys = self._new_keys()

    def _new_keys(self) -> list[str]:
        return [str(uuid.uuid4()) for _ in range(self._count)]

    def renew(self) -> None:
        """Others are to take their place; all are deleted in the end."""
        self._old += self._keys
        self._keys = self._new_keys()

    def make(self) -> list[str]:
        """Make them, see them available; returns their ids."""
        driver = self._driver()
        spec = {"size": _VOLUME_GIB, "name": _VOLUME_NAME}
        made = [str(driver.create_volume(key, self._session, spec)["id"]) for key in self._keys]
        deadline = time.monotonic() + _AVAILABLE_S
        for volume_id in made:
            while (status := driver.volume_status(volume_id)) != "available":
                if status not in ("creating", "downloading") or time.monotonic() > deadline:
                    raise HostUnusable(
                        f"a volume for the comparison is {status}, not available: see Cinder's log"
                    )
                time.sleep(_POLL_S)
        return made

    def untouched(self) -> bool:
        """Whether all of them are there and available."""
        found = [self._driver().find_volume(key) for key in self._keys]
        return all(each is not None and each["status"] == "available" for each in found)

    def delete(self) -> list[str]:
        """Delete those that are there; returns what could not be deleted, and why."""
        driver = self._driver()
        left = []
        for key in (*self._old, *self._keys):
            found = driver.find_volume(key)
            try:
                if found is not None:
                    driver.delete_volume(key, str(found["id"]))
            except BuildflowError as error:
                left.append(f"volume {found['id']}: {error.summary}")
        return left

    def _driver(self) -> Any:
        from buildflow.drivers.registry import open_driver

        return open_driver("volume", self._settings)


@dataclass
class CloudWitness:
    """Counts what a build has in Cinder and Neutron by their own REST APIs, past the drivers.

    `volumes` are the ids of those that were made beforehand; their statuses are counted too.
    """

    settings: Settings
    volumes: list[str]

    def __call__(self, build: str) -> dict[str, int]:
        """See RealWorld."""
        from buildflow.drivers.openstack.session import Cloud

        cloud = Cloud(self.settings)
        try:
            return self._count(cloud, build)
        finally:
            cloud.close()

    def _count(self, cloud: Any, build: str) -> dict[str, int]:
        found = dict.fromkeys(("port", "binding", "volume"), 0)
        ports = _get(cloud.privileged.network, f"/ports?device_id={build}")["ports"]
        found["port"] = len(ports)
        found["binding"] = sum(bool(port["binding:host_id"]) for port in ports)
        cinder = cloud.connection.block_storage
        # the older protocol's rows say less than the status of their volume
        if self.settings.volume_api != "legacy":
            found |= {"reservation": 0, "attachment": 0, "attached": 0}
            rows = _get(cinder, f"/attachments/detail?instance_id={build}", "3.44")["attachments"]
            for row in rows:
                found[row_word(row["status"])] += 1
        volumes = _get(cinder, "/volumes/detail", "3.44")["volumes"]
        found["volume"] = sum(each["metadata"].get(_INSTANCE) == build for each in volumes)
        for each in volumes:
            if each["id"] in self.volumes:
                word = status_word(each["status"])
                found[word] = found.get(word, 0) + 1
        return found


def _get(service: Any, path: str, microversion: str | None = None) -> Any:
    answer = service.get(path, microversion=microversion)
    answer.raise_for_status()
    return answer.json()
