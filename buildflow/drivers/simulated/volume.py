"""The volume driver of a simulated cloud: Cinder's volumes, by either of its protocols."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from buildflow.drivers.protocols import Json, Thing
from buildflow.drivers.simulated import inventory
from buildflow.drivers.simulated.attachments import Attachments
from buildflow.drivers.simulated.content import new_volume
from buildflow.drivers.simulated.legacy import Legacy
from buildflow.drivers.simulated.names import derive
from buildflow.drivers.simulated.volume_status import SHARED, status_of, summary_of
from buildflow.errors import BadInput, Conflict, NotFound, QuotaUsedUp, VolumeServiceError

if TYPE_CHECKING:
    from buildflow.drivers.simulated.world import SimulatedWorld

_DELETE_WAIT_S: Final = 10.0


class SimulatedVolume:
    """VolumeDriver over `world`. `api` is as in the settings: auto, attachments or legacy."""

    name = "simulated"

    def __init__(self, world: SimulatedWorld, *, api: str = "auto") -> None:
        if api not in ("auto", "attachments", "legacy"):
            raise BadInput(f"volume_api is {api!r}; it must be auto, attachments or legacy")
        self.world = world
        self._protocol: Attachments | Legacy = (
            Legacy(world) if api == "legacy" else Attachments(world)
        )

    def check(self) -> None:
        """See that what is attached could be detached again. Raises HostUnusable."""
        with self.world.look():
            self._protocol.check()

    def inventory(self) -> Iterable[Thing]:
        """Volumes that carry a key of ours, and every attachment."""
        self.world.delay()
        with self.world.look() as state:
            return list(inventory.volumes(state, self.world.now()))

    def close(self) -> None:
        """The world stays."""

    # --- volumes --------------------------------------------------------------------------------

    def validate(self, volume_id: str, instance: str) -> Json:
        """The volume, by id or by a name that only one has, when `instance` can have it."""
        self.world.delay()
        with self.world.look() as state:
            volumes = state.tables["volumes"]
            volume = volumes.get(volume_id)
            if volume is None:
                named = [each for each in volumes.values() if each["name"] == volume_id]
                if len(named) > 1:
                    raise BadInput(f"{len(named)} volumes are called {volume_id}; say which by id")
                if not named:
                    raise NotFound(f"no volume {volume_id}")
                volume = named[0]
            status = status_of(volume, self.world.now())
            mine = any(row["instance"] == instance for row in volume["attachments"].values())
            shared = volume["multiattach"] and status in SHARED
            if status != "available" and not shared and not mine:
                raise Conflict(
                    f"volume {volume_id} is {status}; it must be available to be attached"
                )
            self._protocol.check()
            return summary_of(volume, self.world.now())

    def find_volume(self, key: str) -> Json | None:
        """The volume that was made with this key."""
        self.world.delay()
        with self.world.look() as state:
            volume = state.tables["volumes"].get(derive("volume", key))
            return None if volume is None else summary_of(volume, self.world.now())

    def create_volume(self, key: str, instance: str, spec: Json) -> Json:
        """Ask for a volume: it is `creating` for as long as the world's options say."""
        self.world.delay()
        volume_id = derive("volume", key)
        with self.world.change("create_volume", key, volume_id) as change:
            options = self.world.options
            tables = change.state.tables
            found = tables["volumes"].get(volume_id)
            if found is not None:
                return summary_of(found, change.now)
            image = spec.get("image_id")
            if image is not None and not any(
                image in (each["id"], each["name"]) for each in tables["images"].values()
            ):
                raise NotFound(f"cannot create a volume: no image {image} (HTTP 400)")
            quota = options.volume_quota
            if quota is not None and len(tables["volumes"]) >= quota:
                raise QuotaUsedUp(
                    "cannot create a volume: VolumeLimitExceeded: maximum number of volumes allowed"
                    f" ({quota}) exceeded (HTTP 413)",
                    driver="volume",
                    code=413,
                )
            change.make("volume", key)
            record = new_volume(
                volume_id, key=key, instance=instance, name=spec.get("name"),
                size=int(spec.get("size") or 1), bootable=image is not None,
                status="downloading" if image is not None else "creating",
                ready_at=change.now + options.volume_seconds, becomes=options.volume_becomes,
            )  # fmt: skip
            change.put("volumes", volume_id, record)
            return summary_of(record, change.now)

    def volume_status(self, volume_id: str) -> str:
        """Cinder's word for it; `deleted` when it is not there."""
        self.world.delay()
        with self.world.look() as state:
            volume = state.tables["volumes"].get(volume_id)
            return "deleted" if volume is None else status_of(volume, self.world.now())

    def delete_volume(self, key: str, volume_id: str) -> None:
        """Delete it, waiting for one that is still being created. Raises DriverError while it is in
        use.
        """
        self.world.delay()
        with self.world.look() as state:
            volume = state.tables["volumes"].get(volume_id)
            ready_at = None if volume is None else volume["ready_at"]
            wait = 0.0 if ready_at is None else ready_at - self.world.now()
        if wait > 0:
            self.world.clock.sleep(min(wait, _DELETE_WAIT_S))
        with self.world.change("delete_volume", key, volume_id) as change:
            volume = change.state.tables["volumes"].get(volume_id)
            if volume is None:
                return
            status = status_of(volume, change.now)
            if not (status == "available" or status.startswith("error")) or volume["attachments"]:
                raise VolumeServiceError(
                    f"volume {volume_id} is {status} and not gone", driver="volume", code=400
                )
            change.put("volumes", volume_id, None)

    # --- attachments ----------------------------------------------------------------------------

    def find_reservation(self, key: str, volume_id: str, instance: str) -> str | None:
        """See the protocol in use."""
        self.world.delay()
        return self._protocol.find_reservation(key, volume_id, instance)

    def reserve(self, key: str, volume_id: str, instance: str) -> str:
        """See the protocol in use. Raises Conflict when another has it."""
        self.world.delay()
        return self._protocol.reserve(key, volume_id, instance)

    def unreserve(self, key: str, volume_id: str, instance: str) -> None:
        """See the protocol in use."""
        self.world.delay()
        self._protocol.unreserve(key, volume_id, instance)

    def find_attachment(self, attachment_id: str, volume_id: str, connector: Json) -> Json | None:
        """See the protocol in use."""
        self.world.delay()
        return self._protocol.find_attachment(attachment_id, volume_id, connector)

    def initialize_connection(
        self, attachment_id: str, volume_id: str, connector: Json, mountpoint: str
    ) -> Json:
        """See the protocol in use."""
        self.world.delay()
        return self._protocol.initialize_connection(attachment_id, volume_id, connector, mountpoint)

    def connection_secrets(self, attachment_id: str, volume_id: str, connector: Json) -> Json:
        """See the protocol in use. Never store or log it."""
        self.world.delay()
        return self._protocol.connection_secrets(attachment_id, volume_id, connector)

    def terminate_connection(self, attachment_id: str, volume_id: str, connector: Json) -> None:
        """See the protocol in use."""
        self.world.delay()
        self._protocol.terminate_connection(attachment_id, volume_id, connector)

    def find_attached(self, attachment_id: str, volume_id: str, instance: str) -> bool:
        """See the protocol in use."""
        self.world.delay()
        return self._protocol.find_attached(attachment_id, volume_id, instance)

    def attach(self, attachment_id: str, volume_id: str, instance: str, mountpoint: str) -> None:
        """See the protocol in use."""
        self.world.delay()
        self._protocol.attach(attachment_id, volume_id, instance, mountpoint)

    def detach(self, attachment_id: str, volume_id: str, instance: str) -> None:
        """See the protocol in use."""
        self.world.delay()
        self._protocol.detach(attachment_id, volume_id, instance)
