"""The documented Cinder protocol: reserve, initialize_connection, attach (seed, section 3).

Undone by detach, terminate_connection, unreserve. What Nova did with it and Cinder still offers has
three holes, each closed here:

* Cinder does not say who reserved a volume. A metadata item of the volume, written before the
  reservation and taken away when that is refused, says that it was us.
* Cinder removes a backend's export only when a row of os-attach is removed: a volume that was
  connected and never attached keeps its export. So it is attached for as long as it takes to
  detach it.
* A plain os-detach makes the volume available, and os-terminate_connection then lets go of whatever
  reservation the next one has made. So the status stays `detaching` or `in-use` until all is
  undone, and the row goes last.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from buildflow.drivers.openstack.ask import ask
from buildflow.drivers.openstack.connection_info import nested, without_secrets
from buildflow.drivers.openstack.session import Cloud
from buildflow.drivers.openstack.sharing import busy_or
from buildflow.drivers.protocols import Json, Thing
from buildflow.errors import BadInput, Conflict, DriverError, NotFound, Refused

MICROVERSION: Final = "3.0"
MARK: Final = "buildflow:"
"""Prefix of the metadata item that marks a volume; the instance's uuid follows. Its value is how
far it has come, and the key of the reservation."""

_RESERVING: Final = "reserving"
_RESERVED: Final = "reserved"
_CONNECTED: Final = "connected"


class Legacy:
    """The volume protocol's nine calls about one attachment; ids are `volume/instance`."""

    name: Final = "legacy"

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def obstacle(self) -> str | None:
        """None: Cinder asks for no service token where a row has no connection_info."""
        return None

    def rows(self, volume_id: str | None = None, instance: str | None = None) -> Iterator[Thing]:
        """Volumes that carry our mark."""
        found = (
            [self._get(volume_id)]
            if volume_id
            else ask(
                "volume",
                "list volumes",
                lambda: self._api.list(detailed=True),
                idempotent=True,
            )
        )
        for volume in found:
            for name, value in (volume.metadata if volume is not None else {}).items():
                owner = name.removeprefix(MARK)
                state, _, key = value.partition(" ")
                if owner == name or state not in (_RESERVING, _RESERVED, _CONNECTED):
                    continue
                if instance is not None and owner != instance:
                    continue
                yield Thing(
                    kind="reservation",
                    id=_join(volume.id, owner),
                    key=key or None,
                    build=owner,
                    detail={
                        "volume_id": volume.id,
                        "instance": owner,
                        "status": volume.status,
                    },
                )

    def find_reservation(self, key: str, volume_id: str, instance: str) -> str | None:
        """The id when the volume is reserved, and not by anyone but us as far as can be known."""
        volume = self._get(volume_id)
        if volume is None or not _is_ours(volume, instance):
            return None
        return _join(volume_id, instance)

    def reserve(self, key: str, volume_id: str, instance: str) -> str:
        """os-reserve, between two writes of our mark, unless it is reserved."""
        found = self.find_reservation(key, volume_id, instance)
        if found is not None:
            return found
        self._mark(volume_id, instance, f"{_RESERVING} {key}")
        try:
            self._act("reserve", volume_id, lambda: self._api.reserve(volume_id))
        except (BadInput, Refused) as error:
            # a clear no, which the mark must not outlive: it would make another's reservation ours
            self._unmark(volume_id, instance)
            if isinstance(error, Conflict):
                raise busy_or(error, self._cloud.cinder(MICROVERSION), volume_id) from None
            raise
        self._mark(volume_id, instance, f"{_RESERVED} {key}")
        return _join(volume_id, instance)

    def unreserve(self, key: str, volume_id: str, instance: str) -> None:
        """os-unreserve, and our mark goes. Raises Refused while the volume is connected: without
        the mark nobody would know that its export is ours to remove.
        """
        volume = self._get(volume_id)
        if volume is None:
            return
        if _is_connected(volume, instance):
            raise Refused(f"volume {volume_id} is still connected", driver="volume")
        if volume.status == "attaching" and _is_ours(volume, instance):
            self._act(
                "unreserve", volume_id, lambda: self._api.unreserve(volume_id), idempotent=True
            )
            left = self._get(volume_id)
            if left is not None and left.status == "attaching" and _is_ours(left, instance):
                raise DriverError(f"volume {volume_id} is still reserved", driver="volume")
        self._unmark(volume_id, instance)

    def find_attachment(self, attachment_id: str, volume_id: str, connector: Json) -> Json | None:
        """connection_info when a connection was begun. Cinder does not keep it: it is asked for
        again, which changes nothing for a connector that has one.
        """
        volume, instance = self._get(volume_id), _instance(attachment_id)
        if volume is None or not _is_connected(volume, instance):
            return None
        return without_secrets(self._connect(volume, connector))

    def initialize_connection(
        self, attachment_id: str, volume_id: str, connector: Json, mountpoint: str
    ) -> Json:
        """os-initialize_connection, with the mark before it."""
        instance = _instance(attachment_id)
        volume = self._get(volume_id)
        if volume is None:
            raise NotFound(f"volume {volume_id} is not there any more")
        if not _is_ours(volume, instance):
            raise Conflict(f"volume {volume_id} is not reserved for instance {instance}")
        key = volume.metadata.get(MARK + instance, "").partition(" ")[2]
        self._mark(volume_id, instance, f"{_CONNECTED} {key}")
        return without_secrets(self._connect(volume, {**connector, "mountpoint": mountpoint}))

    def connection_secrets(self, attachment_id: str, volume_id: str, connector: Json) -> Json:
        """The full connection_info, asked for again."""
        volume = self._get(volume_id)
        if volume is None:
            raise NotFound(f"volume {volume_id} is not there any more")
        return self._connect(volume, connector)

    def terminate_connection(self, attachment_id: str, volume_id: str, connector: Json) -> None:
        """os-terminate_connection, then the removal of the export."""
        volume, instance = self._get(volume_id), _instance(attachment_id)
        if volume is None or not _is_connected(volume, instance):
            return
        if _row_of(volume, instance) is None:
            self.attach(
                attachment_id, volume_id, instance, str(connector.get("mountpoint") or "vda")
            )
        self._act(
            "disconnect",
            volume_id,
            lambda: self._api.terminate_connection(volume_id, connector),
            idempotent=True,
        )
        volume = self._get(volume_id)
        row = _row_of(volume, instance) if volume is not None else None
        if row is not None:
            self._act(
                "detach", volume_id, lambda: self._api.detach(volume_id, row), idempotent=True
            )
        volume = self._get(volume_id)
        if volume is not None and _row_of(volume, instance) is not None:
            raise DriverError(f"volume {volume_id} is still attached", driver="volume")
        self._unmark(volume_id, instance)

    def find_attached(self, attachment_id: str, volume_id: str, instance: str) -> bool:
        """Whether the volume is in-use by `instance`."""
        volume = self._get(volume_id)
        return (
            volume is not None
            and volume.status == "in-use"
            and _row_of(volume, instance) is not None
        )

    def attach(self, attachment_id: str, volume_id: str, instance: str, mountpoint: str) -> None:
        """os-attach, unless the row is there: Cinder answers a second one with 500."""

        def unless_there() -> None:
            volume = self._get(volume_id)
            if volume is None or volume.status != "in-use" or _row_of(volume, instance) is None:
                # Cinder attaches a volume that it calls read-only in no other mode
                mode = "ro" if volume is not None and _is_read_only(volume) else "rw"
                self._api.attach(volume_id, instance, mountpoint, mode)

        self._act("attach", volume_id, unless_there, idempotent=True)

    def detach(self, attachment_id: str, volume_id: str, instance: str) -> None:
        """os-begin_detaching: not in use any more, and nobody else's before all is undone."""
        volume = self._get(volume_id)
        if volume is None or volume.status != "in-use" or _row_of(volume, instance) is None:
            return
        if len(volume.attachments) > 1:
            return  # multiattach: the status is the others' as well
        self._act(
            "begin to detach",
            volume_id,
            lambda: self._api.begin_detaching(volume_id),
            readings={400: DriverError},
        )

    @property
    def _api(self) -> Any:
        return self._cloud.cinder(MICROVERSION).volumes

    def _get(self, volume_id: str) -> Any:
        try:
            return ask(
                "volume",
                f"read volume {volume_id}",
                lambda: self._api.get(volume_id),
                idempotent=True,
            )
        except NotFound:
            return None

    def _act(
        self,
        verb: str,
        volume_id: str,
        call: Any,
        *,
        idempotent: bool = False,
        readings: Any = None,
    ) -> Any:
        return ask(
            "volume",
            f"{verb} volume {volume_id}",
            call,
            idempotent=idempotent,
            readings=readings or {400: Conflict},
        )

    def _connect(self, volume: Any, connector: Json) -> Json:
        raw = self._act(
            "connect",
            volume.id,
            lambda: self._api.initialize_connection(volume.id, connector),
            idempotent=True,
        )
        info = nested(raw, volume.id)
        if _is_read_only(volume):
            info["data"]["access_mode"] = "ro"  # a tenant is told `rw` of such a volume
        return info

    def _mark(self, volume_id: str, instance: str, value: str) -> None:
        self._act(
            "mark",
            volume_id,
            lambda: self._api.set_metadata(volume_id, {MARK + instance: value}),
            idempotent=True,
        )

    def _unmark(self, volume_id: str, instance: str) -> None:
        try:
            self._act(
                "unmark",
                volume_id,
                lambda: self._api.delete_metadata(volume_id, [MARK + instance]),
                idempotent=True,
            )
        except NotFound:
            return


def _join(volume_id: str, instance: str) -> str:
    return f"{volume_id}/{instance}"


def _instance(attachment_id: str) -> str:
    return attachment_id.rpartition("/")[2]


def _row_of(volume: Any, instance: str) -> str | None:
    """Id of the row that os-attach made for `instance`."""
    for row in volume.attachments:
        if row.get("server_id") == instance:
            return str(row["attachment_id"])
    return None


def _is_read_only(volume: Any) -> bool:
    return bool(volume.metadata.get("readonly") == "True")


def _marks(volume: Any) -> dict[str, str]:
    """Instance -> how far its reservation has come."""
    return {
        name.removeprefix(MARK): value.partition(" ")[0]
        for name, value in volume.metadata.items()
        if name.startswith(MARK)
    }


def _is_ours(volume: Any, instance: str) -> bool:
    """Whether it is `instance` that holds the volume.

    A mark that says no more than `reserving` is an intent: it counts only as long as no one else
    has one, for one of the two was refused and is about to take its mark away.
    """
    if _row_of(volume, instance) is not None:
        return True
    marks = _marks(volume)
    mark = marks.pop(instance, None)
    if mark is None or volume.status != "attaching":
        return False
    return mark in (_RESERVED, _CONNECTED) or not any(
        other in (_RESERVING, _RESERVED, _CONNECTED) for other in marks.values()
    )


def _is_connected(volume: Any, instance: str) -> bool:
    return _is_ours(volume, instance) and (
        _marks(volume).get(instance) == _CONNECTED or _row_of(volume, instance) is not None
    )
