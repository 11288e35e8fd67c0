"""Cinder's attachments API, 3.44 and later (nova/volume/cinder.py: attachment_*).

One row stands for reservation, export and attached state; create, update and complete move it on,
and one delete undoes them all. The row has no place for our key: it is found by volume and
instance, of which there is never more than one that we made on purpose. A blind second create makes
another (Cinder allows the same instance twice), so that an undo deletes each of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from buildflow.drivers.openstack.ask import ask
from buildflow.drivers.openstack.connection_info import nested, without_secrets
from buildflow.drivers.openstack.session import Cloud
from buildflow.drivers.openstack.sharing import busy_or
from buildflow.drivers.protocols import Json, Thing
from buildflow.errors import Conflict, DriverError, NotFound, Refused

MICROVERSION: Final = "3.44"
"""The first that has `complete`; nothing of what came later is needed."""

_PAGE: Final = 500

CURE: Final = (
    "name a cloud of clouds.yaml whose user has the role 'service' with --os-service-cloud, or"
    " choose the older protocol (volume_api = legacy)"
)


class Attachments:
    """The volume protocol's nine calls about one attachment; ids are Cinder's attachment ids."""

    name: Final = "attachments"

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def obstacle(self) -> str | None:
        """Why an attachment made here could not be deleted again, with the cure; None if it could.

        Cinder deletes a row that has an instance and a connection only for a request with a service
        token (cinder/volume/api.py: attachment_deletion_allowed). Without one it asks Nova, which
        does not know our instances, and fails where there is no Nova.
        """
        if self._cloud.sends_service_token:
            return None
        return (
            "Cinder would refuse to take a volume back from an instance without a service token"
            f" (CVE-2023-2088), so that a failed build could not be rolled back: {CURE}"
        )

    def rows(self, volume_id: str | None = None, instance: str | None = None) -> Iterator[Thing]:
        """Attachments of the project, each as the reservation that it began as.

        They name no build: that an instance has a volume does not make it one of ours.
        """
        filters = {"volume_id": volume_id, "instance_id": instance}
        given = {name: value for name, value in filters.items() if value}
        marker: str | None = None
        while page := self._page(given, marker):
            for row in page:
                detail = {
                    "volume_id": row.volume_id,
                    "instance": row.instance,
                    "status": row.status,
                }
                yield Thing(kind="reservation", id=row.id, detail=detail)
            if len(page) < _PAGE:
                return
            marker = page[-1].id

    def _page(self, filters: Json, marker: str | None) -> list[Any]:
        """Unlike its other lists, Cinder's of attachments ends at its limit without a word."""
        return list(
            ask(
                "volume",
                "list attachments",
                lambda: self._api.list(search_opts=filters, limit=_PAGE, marker=marker),
                idempotent=True,
            )
        )

    def find_reservation(self, key: str, volume_id: str, instance: str) -> str | None:
        """Id of the row for this volume and instance."""
        ids = sorted(row.id for row in self.rows(volume_id, instance))
        return ids[0] if ids else None

    def reserve(self, key: str, volume_id: str, instance: str) -> str:
        """attachments.create, unless the row is there. Never repeated: each call makes a row."""
        found = self.find_reservation(key, volume_id, instance)
        if found is not None:
            return found
        try:
            row = ask(
                "volume",
                f"reserve volume {volume_id}",
                lambda: self._api.create(volume_id, None, instance),
                readings={400: Conflict},  # "status must be available": another was first
            )
        except Conflict as error:
            raise busy_or(error, self._cloud.cinder(MICROVERSION), volume_id) from None
        return str(row["id"])

    def unreserve(self, key: str, volume_id: str, instance: str) -> None:
        """Delete each row of this volume and instance."""
        for row in list(self.rows(volume_id, instance)):
            self._delete(row.id, volume_id)

    def find_attachment(self, attachment_id: str, volume_id: str, connector: Json) -> Json | None:
        """connection_info without secrets, when the row has one."""
        row = self._show(attachment_id)
        if row is None or not row.connection_info:
            return None
        return without_secrets(_info(row, volume_id))

    def initialize_connection(
        self, attachment_id: str, volume_id: str, connector: Json, mountpoint: str
    ) -> Json:
        """attachments.update: the backend exports the volume to `connector`."""
        row = ask(
            "volume",
            f"connect volume {volume_id}",
            lambda: self._api.update(attachment_id, {**connector, "mountpoint": mountpoint}),
            idempotent=True,
        )
        return without_secrets(_info(row, volume_id))

    def connection_secrets(self, attachment_id: str, volume_id: str, connector: Json) -> Json:
        """The full connection_info."""
        row = self._show(attachment_id)
        if row is None or not row.connection_info:
            raise NotFound(f"volume {volume_id} has no connection in attachment {attachment_id}")
        return _info(row, volume_id)

    def terminate_connection(self, attachment_id: str, volume_id: str, connector: Json) -> None:
        """Delete the row, and with it the export."""
        self._delete(attachment_id, volume_id)

    def find_attached(self, attachment_id: str, volume_id: str, instance: str) -> bool:
        """Whether the row is complete."""
        row = self._show(attachment_id)
        return row is not None and row.status == "attached" and row.instance == instance

    def attach(self, attachment_id: str, volume_id: str, instance: str, mountpoint: str) -> None:
        """attachments.complete."""
        ask(
            "volume",
            f"mark volume {volume_id} as attached",
            lambda: self._api.complete(attachment_id),
            idempotent=True,
        )

    def detach(self, attachment_id: str, volume_id: str, instance: str) -> None:
        """Delete the row."""
        self._delete(attachment_id, volume_id)

    @property
    def _api(self) -> Any:
        return self._cloud.cinder(MICROVERSION).attachments

    def _show(self, attachment_id: str) -> Any:
        try:
            return ask(
                "volume",
                f"read attachment {attachment_id}",
                lambda: self._api.show(attachment_id),
                idempotent=True,
            )
        except NotFound:
            return None

    def _delete(self, attachment_id: str, volume_id: str) -> None:
        try:
            ask(
                "volume",
                f"detach volume {volume_id}",
                lambda: self._api.delete(attachment_id),
                idempotent=True,  # a delete that got through before its answer was lost gives 404
                readings={409: Refused},
            )
        except NotFound:
            return
        except DriverError as error:
            if error.code in (409, 500) and not self._cloud.sends_service_token:
                raise Refused(
                    f"{error}; it may want a service token: {CURE}",
                    driver="volume",
                    code=error.code,
                ) from None
            raise
        if self._show(attachment_id) is not None:
            raise DriverError(f"attachment {attachment_id} is still there", driver="volume")


def _info(row: Any, volume_id: str) -> Json:
    """The row's connection_info. For a tenant's read-only volume it says `rw`, because Cinder reads
    the flag with the tenant's rights there, and with its own in `attach_mode`.
    """
    info = nested(row.connection_info, volume_id)
    if row.attach_mode == "ro":
        info["data"]["access_mode"] = "ro"
    return info
