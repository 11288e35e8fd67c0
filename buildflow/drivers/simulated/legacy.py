"""The documented Cinder protocol over a world: reserve, initialize_connection, attach.

Here each of the three has an undo of its own: detach, terminate_connection, unreserve. The volume
stays `detaching` until its export is gone, as the real driver keeps it, so that nobody else gets it
in between; with the connection the reservation goes. No service token is asked for: the old calls
put no connection into a row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from buildflow.drivers.protocols import Json
from buildflow.drivers.simulated.attachments import (
    need_backend,
    need_volume,
    new_row,
    note_early_unmap,
    put_rows,
    refusal,
    row_of,
)
from buildflow.drivers.simulated.change import Change
from buildflow.drivers.simulated.export import connection_info, with_password
from buildflow.drivers.simulated.volume_status import status_of
from buildflow.errors import Conflict, NotFound, Refused

if TYPE_CHECKING:
    from buildflow.drivers.simulated.world import SimulatedWorld


class Legacy:
    """The volume protocol's nine calls about one attachment; ids are `volume/instance`."""

    name: Final = "legacy"

    def __init__(self, world: SimulatedWorld) -> None:
        self.world = world

    def check(self) -> None:
        """Nothing stands in the way."""

    def find_reservation(self, key: str, volume_id: str, instance: str) -> str | None:
        """The id when the volume is reserved for this instance."""
        record_id = f"{volume_id}/{instance}"
        with self.world.look() as state:
            return (
                None
                if row_of(state.tables["volumes"].get(volume_id), record_id) is None
                else record_id
            )

    def reserve(self, key: str, volume_id: str, instance: str) -> str:
        """os-reserve."""
        record_id = f"{volume_id}/{instance}"
        with self.world.change("reserve_volume", key, record_id) as change:
            volume = need_volume(change, volume_id)
            if row_of(volume, record_id) is not None:
                return record_id
            status = status_of(volume, change.now)
            shared = volume["multiattach"] and status == "in-use"
            if status != "available" and not shared:
                raise refusal(volume, status)(
                    f"cannot reserve volume {volume_id}: status must be available, but it is"
                    f" {status} (HTTP 400)"
                )
            change.make("reservation", key)
            _put(change, volume, record_id, new_row(key, instance))
            return record_id

    def unreserve(self, key: str, volume_id: str, instance: str) -> None:
        """os-unreserve. Raises Refused while the volume is connected."""
        record_id = f"{volume_id}/{instance}"
        with self.world.change("unreserve_volume", key, record_id) as change:
            volume = change.state.tables["volumes"].get(volume_id)
            row = row_of(volume, record_id)
            if volume is not None and row is not None:
                if row["exported"]:
                    raise Refused(f"volume {volume_id} is still connected", driver="volume")
                _put(change, volume, record_id, None)

    def find_attachment(self, attachment_id: str, volume_id: str, connector: Json) -> Json | None:
        """connection_info when the volume is exported to this connector."""
        with self.world.look() as state:
            row = row_of(state.tables["volumes"].get(volume_id), attachment_id)
            if row is None or not row["exported"] or row["host"] != connector["host"]:
                return None
        return connection_info(volume_id, attachment_id)

    def initialize_connection(
        self, attachment_id: str, volume_id: str, connector: Json, mountpoint: str
    ) -> Json:
        """os-initialize_connection."""
        with self.world.change("export_volume", id=attachment_id) as change:
            options = self.world.options
            volume = need_volume(change, volume_id)
            row = row_of(volume, attachment_id)
            if row is None:
                raise Conflict(f"volume {volume_id} is not reserved as {attachment_id}")
            change.key = row["key"]
            need_backend(options.export_fails, volume_id)
            new = {**row, "exported": True, "host": connector["host"]}
            if row["status"] == "reserved":
                new["status"] = "attaching"
            if new != row:
                _put(change, volume, attachment_id, new)
        return connection_info(volume_id, attachment_id)

    def connection_secrets(self, attachment_id: str, volume_id: str, connector: Json) -> Json:
        """connection_info with the password."""
        if self.find_attachment(attachment_id, volume_id, connector) is None:
            raise NotFound(f"volume {volume_id} has no connection to {connector['host']}")
        return with_password(volume_id, attachment_id)

    def terminate_connection(self, attachment_id: str, volume_id: str, connector: Json) -> None:
        """os-terminate_connection, and the export goes, with the row: the volume is available."""
        with self.world.change("terminate_connection", id=attachment_id) as change:
            volume = change.state.tables["volumes"].get(volume_id)
            row = row_of(volume, attachment_id)
            if volume is None or row is None or not row["exported"]:
                return
            change.key = row["key"]
            note_early_unmap(change, volume_id, row)
            _put(change, volume, attachment_id, None)

    def find_attached(self, attachment_id: str, volume_id: str, instance: str) -> bool:
        """Whether the volume is in-use by `instance`."""
        with self.world.look() as state:
            row = row_of(state.tables["volumes"].get(volume_id), attachment_id)
            return row is not None and row["status"] == "attached" and row["instance"] == instance

    def attach(self, attachment_id: str, volume_id: str, instance: str, mountpoint: str) -> None:
        """os-attach."""
        with self.world.change("attach_volume", id=attachment_id) as change:
            volume = need_volume(change, volume_id)
            row = row_of(volume, attachment_id)
            if row is None:
                raise Conflict(f"volume {volume_id} is not reserved as {attachment_id}")
            change.key = row["key"]
            if row["status"] != "attached":
                _put(change, volume, attachment_id, {**row, "status": "attached"})

    def detach(self, attachment_id: str, volume_id: str, instance: str) -> None:
        """os-begin_detaching: not in use any more, and nobody else's before all is undone."""
        with self.world.change("detach_volume", id=attachment_id) as change:
            volume = change.state.tables["volumes"].get(volume_id)
            row = row_of(volume, attachment_id)
            if volume is None or row is None or row["status"] != "attached":
                return
            change.key = row["key"]
            _put(change, volume, attachment_id, {**row, "status": "attaching"}, "detaching")


def _put(
    change: Change, volume: Json, record_id: str, row: Json | None, status: str | None = None
) -> None:
    rows = {name: each for name, each in volume["attachments"].items() if name != record_id}
    if row is not None:
        rows[record_id] = row
    if status is None and rows:
        attached = any(each["status"] == "attached" for each in rows.values())
        status = "in-use" if attached else "attaching"
        if not attached and volume["status"] == "detaching":
            status = "detaching"
    put_rows(change, volume, rows, status)
