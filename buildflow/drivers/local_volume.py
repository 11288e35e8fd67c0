"""Volumes as files of this host, with Cinder's protocol: reserve, connect, attach, and back.

Made for the embedded hypervisor, where no service is: the same flow, the same effects and undos,
and exactly one of two builds that race for a volume gets it.
"""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from buildflow.config import Settings
from buildflow.drivers.files import inspection
from buildflow.drivers.protocols import Json, Thing
from buildflow.drivers.volume_record import Attachment, Record, VolumeRecords
from buildflow.errors import (
    BadInput,
    Conflict,
    DriverError,
    Exhausted,
    HostUnusable,
    NotFound,
    Refused,
)

_GIB: Final = 1 << 30
_NO_ROOM: Final = ("No space left on device", "Disk quota exceeded")


class LocalVolumeDriver:
    """VolumeDriver over the files of one directory. A volume's id is its file's name."""

    name = "local"

    def __init__(self, directory: Path) -> None:
        self._records = VolumeRecords(directory)

    def folder(self, kind: str, facts: Json) -> str | None:
        """That of the volumes."""
        return str(self._records.directory)

    def check(self) -> None:
        """Files need nothing."""

    def inventory(self) -> Iterable[Thing]:
        """The volumes that builds made, and every reservation and attachment."""
        for volume_id in self._records.ids():
            record = self._records.read(volume_id)
            if record.key is not None:
                yield Thing("volume", volume_id, key=record.key, build=record.instance)
            for attachment_id, attachment in record.attachments.items():
                yield Thing(
                    "reservation",
                    attachment_id,
                    key=attachment_id,
                    build=attachment.instance,
                    detail={"volume_id": volume_id, "stage": attachment.stage},
                )
        for key in self._records.unfinished():
            yield Thing("volume", key, key=key, detail={"part": True})

    def close(self) -> None:
        """Nothing is held."""

    # --- volumes ----------------------------------------------------------------------------------

    def validate(self, volume_id: str, instance: str) -> Json:
        """The volume when `instance` can have it. Raises NotFound, Conflict, BadInput."""
        described = self._describe(volume_id, self._records.read(volume_id))
        self._refuse_used(volume_id, self._records.read(volume_id), instance)
        return described

    def find_volume(self, key: str) -> Json | None:
        """The volume made with this key; its id is the key."""
        try:
            record = self._records.read(key)
        except NotFound:
            return None
        return self._describe(key, record) if record.key == key else None

    def create_volume(self, key: str, instance: str, spec: Json) -> Json:
        """A raw volume of `size` GiB, blank or with the image file `image_id` copied into it.

        Raises BadInput for a snapshot (there are none) or an image that does not fit, Exhausted
        when the disk is full.
        """
        if spec.get("snapshot_id"):
            raise BadInput("local volumes have no snapshots: use an image or another volume driver")
        size = int(spec["size"]) * _GIB
        if size <= 0:
            raise BadInput(f"a volume must have at least 1 GiB, not {spec['size']}")
        if self._records.data(key) is None:
            # the state first: whatever a kill leaves is then known to be this key's
            with self._records.locked():
                self._records.write(key, Record(key=key, instance=instance))
            self._make(key, size, spec.get("image_id"))
        return self._describe(key, self._records.read(key))

    def volume_status(self, volume_id: str) -> str:
        """available, reserved or in-use; `deleted` when it is not there."""
        try:
            return _status(self._records.read(volume_id))
        except NotFound:
            return "deleted"

    def delete_volume(self, key: str, volume_id: str) -> None:
        """Delete the volume; one that is not there is fine. Raises Refused while it is used."""
        with self._records.locked():
            self._part(volume_id).unlink(missing_ok=True)
            data = self._records.data(volume_id)
            if data is not None:
                if self._records.read(volume_id).attachments:
                    raise Refused(f"volume {volume_id} is in use: detach it first", driver="volume")
                data.unlink(missing_ok=True)
            self._records.forget(volume_id)

    # --- reservations -----------------------------------------------------------------------------

    def find_reservation(self, key: str, volume_id: str, instance: str) -> str | None:
        """`key`, which is the attachment's id, when it is reserved for `instance`."""
        found = self._attachment(volume_id, key)
        return key if found is not None and found.instance == instance else None

    def reserve(self, key: str, volume_id: str, instance: str) -> str:
        """Reserve it; exactly one of two racing builds wins. Raises NotFound, Conflict."""
        with self._records.changing(volume_id) as record:
            if key not in record.attachments:
                self._refuse_used(volume_id, record, instance)
                record.attachments[key] = Attachment(instance)
        return key

    def unreserve(self, key: str, volume_id: str, instance: str) -> None:
        """Take the reservation back, with all that was built on it."""
        self._drop(key, volume_id)

    # --- connections ------------------------------------------------------------------------------

    def find_attachment(self, attachment_id: str, volume_id: str, connector: Json) -> Json | None:
        """connection_info when the volume is connected for this attachment."""
        found = self._attachment(volume_id, attachment_id)
        if found is None or found.stage == "reserved":
            return None
        return self._connection_info(volume_id)

    def initialize_connection(
        self, attachment_id: str, volume_id: str, connector: Json, mountpoint: str
    ) -> Json:
        """Connect; returns connection_info with the file's path. Raises Conflict when it is not
        reserved by this attachment.
        """
        with self._records.changing(volume_id) as record:
            attachment = self._reserved(record, attachment_id, volume_id)
            if attachment.stage == "reserved":
                attachment.stage = "connected"
            attachment.connector, attachment.mountpoint = dict(connector), mountpoint
        return self._connection_info(volume_id)

    def connection_secrets(self, attachment_id: str, volume_id: str, connector: Json) -> Json:
        """connection_info: files have no passwords."""
        return self._connection_info(volume_id)

    def terminate_connection(self, attachment_id: str, volume_id: str, connector: Json) -> None:
        """Back to reserved; one that is not connected is fine."""
        self._back(attachment_id, volume_id, "reserved")

    def find_attached(self, attachment_id: str, volume_id: str, instance: str) -> bool:
        """Whether the volume is in-use by `instance`."""
        found = self._attachment(volume_id, attachment_id)
        return found is not None and found.stage == "attached" and found.instance == instance

    def attach(self, attachment_id: str, volume_id: str, instance: str, mountpoint: str) -> None:
        """in-use. Raises Conflict when it is not reserved by this attachment."""
        with self._records.changing(volume_id) as record:
            self._reserved(record, attachment_id, volume_id).stage = "attached"

    def detach(self, attachment_id: str, volume_id: str, instance: str) -> None:
        """Back to connected; one that is not attached is fine."""
        self._back(attachment_id, volume_id, "connected", only_from="attached")

    # --- inside -----------------------------------------------------------------------------------

    def _make(self, key: str, size: int, image: str | None) -> None:
        part = self._part(key)
        try:
            part.unlink(missing_ok=True)
            if image is None:
                part.touch(mode=0o600)
            else:
                found = inspection.inspect(Path(image))
                if found.virtual_size > size:
                    raise BadInput(
                        f"image {image} of {found.virtual_size} bytes does not fit in {size} bytes"
                    )
                _convert(found.path, found.format, part)
            with part.open("r+b") as file:
                file.truncate(size)
            part.rename(self._records.directory / f"{key}.raw")
        except OSError as error:
            part.unlink(missing_ok=True)
            kind = Exhausted if error.errno in (28, 122) else DriverError  # ENOSPC, EDQUOT
            raise kind(
                f"cannot make volume {key}: {error.strerror}", driver="volume", code=error.errno
            ) from error
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def _part(self, key: str) -> Path:
        return self._records.directory / f".{key}.part"

    def _describe(self, volume_id: str, record: Record) -> Json:
        data = self._records.data(volume_id)
        if data is None:
            raise NotFound(f"no volume {volume_id!r} in {self._records.directory}")
        size = data.stat().st_size
        if data.suffix == ".qcow2":
            size = inspection.inspect(data).virtual_size
        return {
            "id": volume_id,
            "name": data.name,
            "size": math.ceil(size / _GIB),
            "status": _status(record),
            "bootable": True,
            "multiattach": False,
        }

    def _connection_info(self, volume_id: str) -> Json:
        data = self._records.data(volume_id)
        if data is None:
            raise NotFound(f"no volume {volume_id!r} in {self._records.directory}")
        return {
            "driver_volume_type": "local",
            "serial": volume_id,
            "data": {
                "volume_id": volume_id,
                "device_path": str(data),
                "format": data.suffix.removeprefix("."),
                "access_mode": "rw",
                "encrypted": False,
            },
        }

    def _attachment(self, volume_id: str, attachment_id: str) -> Attachment | None:
        try:
            return self._records.read(volume_id).attachments.get(attachment_id)
        except NotFound:
            return None

    def _drop(self, attachment_id: str, volume_id: str) -> None:
        try:
            with self._records.changing(volume_id) as record:
                record.attachments.pop(attachment_id, None)
        except NotFound:
            return

    def _back(
        self, attachment_id: str, volume_id: str, stage: str, only_from: str | None = None
    ) -> None:
        try:
            with self._records.changing(volume_id) as record:
                attachment = record.attachments.get(attachment_id)
                if attachment is not None and only_from in (None, attachment.stage):
                    attachment.stage = stage
        except NotFound:
            return

    @staticmethod
    def _reserved(record: Record, attachment_id: str, volume_id: str) -> Attachment:
        attachment = record.attachments.get(attachment_id)
        if attachment is None:
            raise Conflict(f"volume {volume_id} is not reserved by {attachment_id}")
        return attachment

    @staticmethod
    def _refuse_used(volume_id: str, record: Record, instance: str) -> None:
        for attachment in record.attachments.values():
            if attachment.instance != instance:
                raise Conflict(f"volume {volume_id} is {_status(record)} by {attachment.instance}")


def _status(record: Record) -> str:
    stages = {attachment.stage for attachment in record.attachments.values()}
    if not stages:
        return "available"
    return "in-use" if "attached" in stages else "reserved"


def _convert(source: str, source_format: str, target: Path) -> None:
    command = ["qemu-img", "convert", "-f", source_format, "-O", "raw", source, str(target)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise HostUnusable("qemu-img is not installed: apt-get install qemu-utils") from None
    if done.returncode:
        said = " ".join(done.stderr.split())
        kind = Exhausted if any(text in said for text in _NO_ROOM) else DriverError
        raise kind(f"cannot copy the image: {said}", driver="volume", code=done.returncode)


def open_local_volumes(settings: Settings, say: Callable[[str], None]) -> LocalVolumeDriver:
    """The driver for `settings`, its volumes in `home`."""
    return LocalVolumeDriver(settings.home / "volumes")
