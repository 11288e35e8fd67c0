"""Cinder's attachments API over a world: create, update, complete, and one delete for them all.

A row has no place for our key: it is found by volume and instance. Each refusal is Cinder's own
(cinder/volume/api.py), put as the real driver puts it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from buildflow.drivers.protocols import Json
from buildflow.drivers.simulated.change import Change
from buildflow.drivers.simulated.export import connection_info, with_password
from buildflow.drivers.simulated.launch import live_users
from buildflow.drivers.simulated.names import derive
from buildflow.drivers.simulated.volume_status import SHARED, status_from, status_of
from buildflow.errors import Busy, Conflict, HostUnusable, NotFound, Refused, VolumeServiceError

if TYPE_CHECKING:
    from buildflow.drivers.simulated.world import SimulatedWorld


class Attachments:
    """The volume protocol's nine calls about one attachment; ids are attachment ids."""

    name: Final = "attachments"

    def __init__(self, world: SimulatedWorld) -> None:
        self.world = world

    def check(self) -> None:
        """Raise HostUnusable when what is attached could not be detached again."""
        if not self.world.options.service_token:
            raise HostUnusable(
                "Cinder would refuse to take a volume back from an instance without a service token"
            )

    def find_reservation(self, key: str, volume_id: str, instance: str) -> str | None:
        """Id of the row of this volume and instance."""
        with self.world.look() as state:
            ids = _rows_of(state.tables["volumes"].get(volume_id), instance)
            return ids[0] if ids else None

    def reserve(self, key: str, volume_id: str, instance: str) -> str:
        """A row, if Cinder lets this instance have one."""
        with self.world.change("reserve_volume", key) as change:
            volume = need_volume(change, volume_id)
            rows = volume["attachments"]
            for record_id in _rows_of(volume, instance):
                if rows[record_id]["key"] == key:
                    return record_id
            status = status_of(volume, change.now)
            if status == "error":
                raise Conflict(f"cannot reserve volume {volume_id}: it is in error (HTTP 400)")
            again = bool(_rows_of(volume, instance))  # Cinder lets an instance have a second row
            shared = volume["multiattach"] and status == "in-use"
            if status not in ("available", "downloading") and not shared and not again:
                raise refusal(volume, status)(
                    f"cannot reserve volume {volume_id}: status must be available or downloading to"
                    f" reserve, but the current status is {status} (HTTP 400)"
                )
            change.make("reservation", key)
            number = 0
            while (record_id := derive("attachment", key, volume_id, str(number))) in rows:
                number += 1
            change.id = record_id
            row = new_row(key, instance)
            put_rows(change, volume, {**rows, record_id: row}, status="reserved")
            return record_id

    def unreserve(self, key: str, volume_id: str, instance: str) -> None:
        """Delete each row of this volume and instance."""
        with self.world.look() as state:
            ids = _rows_of(state.tables["volumes"].get(volume_id), instance)
        for record_id in ids:
            self._delete("unreserve_volume", record_id, volume_id)

    def find_attachment(self, attachment_id: str, volume_id: str, connector: Json) -> Json | None:
        """connection_info when the row is exported to this connector."""
        with self.world.look() as state:
            row = row_of(state.tables["volumes"].get(volume_id), attachment_id)
            if row is None or not row["exported"] or row["host"] != connector["host"]:
                return None
        return connection_info(volume_id, attachment_id)

    def initialize_connection(
        self, attachment_id: str, volume_id: str, connector: Json, mountpoint: str
    ) -> Json:
        """The backend exports the volume to the connector's host."""
        with self.world.change("export_volume", id=attachment_id) as change:
            options = self.world.options
            volume, row = need_row(change, volume_id, attachment_id)
            change.key = row["key"]
            if "error" in status_of(volume, change.now):
                raise Conflict(f"cannot connect volume {volume_id}: it is in error (HTTP 409)")
            others = [
                record_id for record_id, other in volume["attachments"].items()
                if record_id != attachment_id and other["exported"]
            ]  # fmt: skip
            if others and not volume["multiattach"]:
                raise Conflict(
                    f"cannot connect volume {volume_id}: attachment {others[0]} has a connection"
                    " already (HTTP 409)"
                )
            need_backend(options.export_fails, volume_id)
            status = "attached" if row["status"] == "attached" else "attaching"
            new = {**row, "status": status, "exported": True, "host": connector["host"]}
            if new != row:
                rows = {**volume["attachments"], attachment_id: new}
                put_rows(change, volume, rows, "attaching" if status == "attaching" else None)
        return connection_info(volume_id, attachment_id)

    def connection_secrets(self, attachment_id: str, volume_id: str, connector: Json) -> Json:
        """connection_info with the password."""
        if self.find_attachment(attachment_id, volume_id, connector) is None:
            raise NotFound(f"volume {volume_id} has no connection in attachment {attachment_id}")
        return with_password(volume_id, attachment_id)

    def terminate_connection(self, attachment_id: str, volume_id: str, connector: Json) -> None:
        """Delete the row, and the export with it."""
        self._delete("terminate_connection", attachment_id, volume_id)

    def find_attached(self, attachment_id: str, volume_id: str, instance: str) -> bool:
        """Whether the row is complete."""
        with self.world.look() as state:
            row = row_of(state.tables["volumes"].get(volume_id), attachment_id)
            return row is not None and row["status"] == "attached" and row["instance"] == instance

    def attach(self, attachment_id: str, volume_id: str, instance: str, mountpoint: str) -> None:
        """Mark it attached. Cinder does not look whether it was ever connected."""
        with self.world.change("attach_volume", id=attachment_id) as change:
            volume, row = need_row(change, volume_id, attachment_id)
            change.key = row["key"]
            if row["status"] != "attached":
                new = {**row, "status": "attached"}
                put_rows(change, volume, {**volume["attachments"], attachment_id: new})

    def detach(self, attachment_id: str, volume_id: str, instance: str) -> None:
        """Delete the row."""
        self._delete("detach_volume", attachment_id, volume_id)

    def _delete(self, name: str, attachment_id: str, volume_id: str) -> None:
        with self.world.change(name, id=attachment_id) as change:
            options = self.world.options
            volume = change.state.tables["volumes"].get(volume_id)
            row = row_of(volume, attachment_id)
            if volume is None or row is None:
                return
            change.key = row["key"]
            if row["exported"] and row["instance"] and not options.service_token:
                raise Refused(
                    f"cannot detach volume {volume_id}: an attachment of an instance is only"
                    " deleted for a request with a service token"
                    f" (HTTP {options.service_token_code})",
                    driver="volume",
                    code=options.service_token_code,
                )
            note_early_unmap(change, volume_id, row)
            rows = {
                record_id: each
                for record_id, each in volume["attachments"].items()
                if record_id != attachment_id
            }
            put_rows(change, volume, rows)


def new_row(key: str, instance: str) -> Json:
    """A row that reserves."""
    return {
        "key": key, "instance": instance, "status": "reserved", "exported": False, "host": None,
    }  # fmt: skip


def row_of(volume: Json | None, attachment_id: str) -> Json | None:
    """The row with this id."""
    if volume is None:
        return None
    row: Json | None = volume["attachments"].get(attachment_id)
    return row


def need_volume(change: Change, volume_id: str) -> Json:
    """The volume, or NotFound."""
    volume = change.state.tables["volumes"].get(volume_id)
    if volume is None:
        raise NotFound(f"no volume {volume_id} (HTTP 404)")
    return volume


def need_row(change: Change, volume_id: str, attachment_id: str) -> tuple[Json, Json]:
    """The volume and its row, or NotFound."""
    volume = need_volume(change, volume_id)
    row = row_of(volume, attachment_id)
    if row is None:
        raise NotFound(f"no attachment {attachment_id} of volume {volume_id} (HTTP 404)")
    return volume, row


def refusal(volume: Json, status: str) -> type[Conflict]:
    """What a volume that cannot be reserved in `status` raises: Busy when it is shared, and one
    instance is just coming or going.
    """
    return Busy if volume["multiattach"] and status in SHARED else Conflict


def need_backend(fails: bool, volume_id: str) -> None:
    """Raise what Cinder answers when its backend cannot export."""
    if fails:
        raise VolumeServiceError(
            f"cannot connect volume {volume_id}: the backend failed to export it (HTTP 500)",
            driver="volume",
            code=500,
        )


def put_rows(change: Change, volume: Json, rows: Json, status: str | None = None) -> None:
    """Stage the volume with other rows, and the status that they make."""
    change.put(
        "volumes",
        volume["id"],
        {
            **volume, "attachments": rows, "status": status or status_from(rows), "ready_at": None,
        },
    )  # fmt: skip


def note_early_unmap(change: Change, volume_id: str, row: Json) -> None:
    """Note it when an export goes while the host has the volume open."""
    if not row["exported"]:
        return
    state, host = change.state, row["host"]
    if f"{host}/{volume_id}" in state.tables["connections"]:
        change.violate(f"the export of volume {volume_id} was removed while {host} had it open")
    for user in live_users(state, f"volume:{volume_id}", change.now):
        if user["host"] == host:
            change.violate(
                f"the export of volume {volume_id} was removed under the live QEMU of"
                f" {user['uuid']}"
            )


def _rows_of(volume: Json | None, instance: str) -> list[str]:
    if volume is None:
        return []
    return [
        record_id for record_id, row in volume["attachments"].items() if row["instance"] == instance
    ]
