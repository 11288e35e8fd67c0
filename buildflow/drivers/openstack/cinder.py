"""Volumes from Cinder (nova/volume/cinder.py, nova/virt/block_device.py), by python-cinderclient.

Two protocols for the attachment itself, each in its own file: `attachments` (3.44 and later) and
`legacy` (the documented initialize_connection and attach). `volume_api = auto` takes the first
where Cinder has it. Waits for a status live in the flow; only a delete is awaited here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final

from buildflow.config import VOLUME_API, Settings
from buildflow.drivers.openstack import attachments, legacy
from buildflow.drivers.openstack.ask import ask
from buildflow.drivers.openstack.attachments import Attachments
from buildflow.drivers.openstack.legacy import Legacy
from buildflow.drivers.openstack.session import Cloud
from buildflow.drivers.openstack.sharing import may_be_had
from buildflow.drivers.protocols import Json, Thing
from buildflow.errors import (
    BadInput,
    BuildflowError,
    Conflict,
    DriverError,
    HostUnusable,
    NotFound,
    Refused,
)

KEY: Final = "buildflow:key"
INSTANCE: Final = "buildflow:instance"

# A delete is refused while Cinder works on the volume, so it is asked for again until then.
_BUSY: Final = frozenset(
    {"creating", "downloading", "attaching", "detaching", "reserved", "in-use", "uploading",
     "error_detaching", "backing-up", "restoring-backup", "extending", "retyping"}
)  # fmt: skip
_DELETE_WAIT_S: Final = 10.0
_POLL_S: Final = 0.2


class CinderVolumes:
    """The VolumeDriver of Cinder. Sizes in GiB, times in seconds."""

    name: Final = "cinder"

    def __init__(
        self, settings: Settings, *, cloud: Cloud | None = None, owns_cloud: bool = False
    ) -> None:
        if settings.volume_api not in VOLUME_API:
            raise BadInput(
                f"volume_api is {settings.volume_api!r}; it must be one of {', '.join(VOLUME_API)}"
            )
        self._settings = settings
        self._cloud = cloud or Cloud(settings)
        self._owns_cloud = owns_cloud or cloud is None
        self._lock = threading.Lock()
        self._chosen: Attachments | Legacy | None = None

    def place(self, facts: Json) -> str:
        """The project, whose id no other cloud has."""
        return f"{self.name} of project {self._cloud.project_id}"

    # --- the service -----------------------------------------------------------------------------

    def check(self) -> None:
        """See that Cinder answers, and that what is attached could be detached again."""
        try:
            obstacle = self._protocol.obstacle()
            self._ask("list volumes", lambda: self._api.list(limit=1))
        except HostUnusable:
            raise
        except BuildflowError as error:
            raise HostUnusable(f"Cinder cannot be used: {error.summary}") from None
        if obstacle is not None:
            raise HostUnusable(obstacle)

    def inventory(self) -> Iterator[Thing]:
        """Volumes that carry a key of ours, and the project's attachments as reservations: with
        the attachments API a row has no place for a key, and says only whose instance has it.
        """
        for volume in self._ask("list volumes", lambda: self._api.list(detailed=True)):
            if KEY in volume.metadata:
                yield Thing(
                    kind="volume",
                    id=volume.id,
                    key=volume.metadata[KEY],
                    build=volume.metadata.get(INSTANCE),
                    detail=_summary(volume),
                )
        yield from self._protocol.rows()

    def close(self) -> None:
        """Close the cloud's connections, unless they are shared."""
        if self._owns_cloud:
            self._cloud.close()

    # --- volumes ---------------------------------------------------------------------------------

    def validate(self, volume_id: str, instance: str) -> Json:
        """The volume when `instance` can have it.

        Raises NotFound; Conflict when its status says no; HostUnusable when what is attached could
        not be detached again (see `attachments.Attachments.obstacle`).
        """
        volume = self._existing(volume_id)
        if not may_be_had(volume) and not any(self._protocol.rows(volume.id, instance)):
            raise Conflict(
                f"volume {volume_id} is {volume.status}; it must be available to be attached"
            )
        obstacle = self._protocol.obstacle()
        if obstacle is not None:
            raise HostUnusable(obstacle)
        return _summary(volume)

    def find_volume(self, key: str) -> Json | None:
        """The volume that was made with this key."""
        found = self._with_key(key)
        return _summary(found[0]) if found else None

    def create_volume(self, key: str, instance: str, spec: Json) -> Json:
        """Ask for a volume, unless there is one with this key. `spec`: `size`, one of `image_id`,
        `snapshot_id` or neither, and `name`, `volume_type`, `availability_zone` where wanted.
        """
        found = self.find_volume(key)
        if found is not None:
            return found
        return _summary(
            ask(
                "volume",
                f"create a volume of {spec['size']} GiB",
                lambda: self._api.create(
                    int(spec["size"]),
                    name=spec.get("name"),
                    imageRef=spec.get("image_id"),
                    snapshot_id=spec.get("snapshot_id"),
                    volume_type=spec.get("volume_type"),
                    availability_zone=spec.get("availability_zone"),
                    metadata={KEY: key, INSTANCE: instance},
                ),
            )
        )

    def volume_status(self, volume_id: str) -> str:
        """Cinder's word for it; `deleted` when it is not there."""
        volume = self._get(volume_id)
        return "deleted" if volume is None else str(volume.status)

    def delete_volume(self, key: str, volume_id: str) -> None:
        """Delete it, and each other that carries `key` (an answer was lost, and it was asked for
        twice). Raises DriverError when one is not gone in ten seconds, Refused when Cinder gave up.
        """
        ids = {volume_id, *(volume.id for volume in self._with_key(key))} - {"", None}
        for each in sorted(ids):
            self._delete(each)

    def keep_volume(self, key: str, volume_id: str) -> None:
        """Make a volume of ours the user's own: it no longer carries our key, so that neither an
        undo nor gc finds it (a delete without delete_on_termination).
        """
        volume = self._get(volume_id)
        if volume is None or volume.metadata.get(KEY) != key:
            return
        try:
            self._ask(
                f"hand volume {volume_id} over",
                lambda: self._api.delete_metadata(volume_id, [KEY, INSTANCE]),
            )
        except NotFound:
            return  # a try whose answer was lost had taken it away

    # --- attachments -----------------------------------------------------------------------------

    def find_reservation(self, key: str, volume_id: str, instance: str) -> str | None:
        """See the protocol in use."""
        return self._protocol.find_reservation(key, volume_id, instance)

    def reserve(self, key: str, volume_id: str, instance: str) -> str:
        """See the protocol in use. Raises Conflict when another has it, Busy when a shared one is
        on its way to or from another.
        """
        return self._protocol.reserve(key, volume_id, instance)

    def unreserve(self, key: str, volume_id: str, instance: str) -> None:
        """See the protocol in use."""
        self._protocol.unreserve(key, volume_id, instance)

    def find_attachment(self, attachment_id: str, volume_id: str, connector: Json) -> Json | None:
        """See the protocol in use."""
        return self._protocol.find_attachment(attachment_id, volume_id, connector)

    def initialize_connection(
        self, attachment_id: str, volume_id: str, connector: Json, mountpoint: str
    ) -> Json:
        """See the protocol in use."""
        return self._protocol.initialize_connection(attachment_id, volume_id, connector, mountpoint)

    def connection_secrets(self, attachment_id: str, volume_id: str, connector: Json) -> Json:
        """See the protocol in use. Never store or log it."""
        return self._protocol.connection_secrets(attachment_id, volume_id, connector)

    def terminate_connection(self, attachment_id: str, volume_id: str, connector: Json) -> None:
        """See the protocol in use."""
        self._protocol.terminate_connection(attachment_id, volume_id, connector)

    def find_attached(self, attachment_id: str, volume_id: str, instance: str) -> bool:
        """See the protocol in use."""
        return self._protocol.find_attached(attachment_id, volume_id, instance)

    def attach(self, attachment_id: str, volume_id: str, instance: str, mountpoint: str) -> None:
        """See the protocol in use."""
        self._protocol.attach(attachment_id, volume_id, instance, mountpoint)

    def detach(self, attachment_id: str, volume_id: str, instance: str) -> None:
        """See the protocol in use."""
        self._protocol.detach(attachment_id, volume_id, instance)

    # --- inside ----------------------------------------------------------------------------------

    @property
    def protocol(self) -> str:
        """`attachments` or `legacy`, whichever is in use here."""
        return self._protocol.name

    @property
    def _protocol(self) -> Attachments | Legacy:
        with self._lock:
            if self._chosen is None:
                self._chosen = self._choose()
            return self._chosen

    def _choose(self) -> Attachments | Legacy:
        wanted = self._settings.volume_api
        if wanted == "legacy":
            return Legacy(self._cloud)
        needed = tuple(int(part) for part in attachments.MICROVERSION.split("."))
        newest = self._cloud.cinder_microversion()
        if newest >= needed:
            return Attachments(self._cloud)
        if wanted == "auto":
            return Legacy(self._cloud)
        raise HostUnusable(
            f"this Cinder speaks {newest[0]}.{newest[1]} and its attachments API begins at"
            f" {attachments.MICROVERSION}: choose volume_api = legacy"
        )

    @property
    def _api(self) -> Any:
        return self._cloud.cinder(legacy.MICROVERSION).volumes

    def _ask(self, doing: str, call: Any) -> Any:
        return ask("volume", doing, call, idempotent=True)

    def _get(self, volume_id: str) -> Any:
        try:
            return self._ask(f"read volume {volume_id}", lambda: self._api.get(volume_id))
        except NotFound:
            return None

    def _with_key(self, key: str) -> list[Any]:
        found: Iterable[Any] = self._ask(
            "look for our volume", lambda: self._api.list(search_opts={"metadata": {KEY: key}})
        )
        return sorted(found, key=lambda volume: (volume.created_at, volume.id))

    def _existing(self, volume_id: str) -> Any:
        volume = self._get(volume_id)
        if volume is not None:
            return volume
        named = list(
            self._ask("list volumes", lambda: self._api.list(search_opts={"name": volume_id}))
        )
        if named:
            ids = ", ".join(each.id for each in named)
            raise NotFound(f"volumes go by their id, and {volume_id} is the name of {ids}")
        raise NotFound(f"no volume {volume_id}; `openstack volume list` shows what there is")

    def _delete(self, volume_id: str) -> None:
        give_up = time.monotonic() + _DELETE_WAIT_S
        asked = False
        while True:
            volume = self._get(volume_id)
            if volume is None or volume.status == "deleted":
                return
            if volume.status == "error_deleting" and asked:
                raise Refused(f"Cinder could not delete volume {volume_id}", driver="volume")
            if volume.status != "deleting":
                asked = self._ask_to_delete(volume_id, volume.status) or asked
            if time.monotonic() > give_up:
                raise DriverError(
                    f"volume {volume_id} is {volume.status} and not gone", driver="volume"
                )
            time.sleep(_POLL_S)

    def _ask_to_delete(self, volume_id: str, status: str) -> bool:
        """Whether Cinder took the request; it does not while it works on the volume."""
        try:
            ask(
                "volume",
                f"delete volume {volume_id}",
                lambda: self._api.delete(volume_id),
                idempotent=True,
                readings={400: Conflict, 404: NotFound},
            )
        except NotFound:
            return True
        except Conflict:
            if status in _BUSY:
                return False
            raise
        return True


def _summary(volume: Any) -> Json:
    return {
        "id": volume.id,
        "name": volume.name,
        "size": volume.size,
        "status": volume.status,
        "bootable": str(volume.bootable).lower() == "true",
        "multiattach": bool(volume.multiattach),
    }
