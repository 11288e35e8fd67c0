"""The state of a local volume: a small JSON file beside its data, changed under a lock.

VOLUMES/ID.raw or ID.qcow2     the data; a file that the user puts there is a volume too
VOLUMES/ID.json                its state; a volume without one is available
VOLUMES/.lock                  held while a state is read and changed, by any process
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from buildflow.errors import DriverError, NotFound

FORMATS: Final = ("raw", "qcow2")
_ID: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,127}")


@dataclass(slots=True)
class Attachment:
    """One use of a volume. `stage` is reserved, connected or attached."""

    instance: str
    stage: str = "reserved"
    mountpoint: str | None = None
    connector: dict[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class Record:
    """What is known of a volume beside its data. `key` is set for one that a build made."""

    key: str | None = None
    instance: str | None = None
    attachments: dict[str, Attachment] = field(default_factory=dict)


class VolumeRecords:
    """The volumes of one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def ids(self) -> list[str]:
        """The ids of all volumes whose data are there."""
        found = {path.stem for fmt in FORMATS for path in self.directory.glob(f"*.{fmt}")}
        return sorted(stem for stem in found if _ID.fullmatch(stem))

    def unfinished(self) -> list[str]:
        """The ids of volumes that were begun and have no data (yet, or for ever)."""
        begun = {path.stem for path in self.directory.glob("*.json")}
        return sorted(begun - set(self.ids()))

    def data(self, volume_id: str) -> Path | None:
        """The file with the volume's data, None when there is no such volume."""
        if not _ID.fullmatch(volume_id):
            return None
        for fmt in FORMATS:
            path = self.directory / f"{volume_id}.{fmt}"
            if path.is_file():
                return path
        return None

    def read(self, volume_id: str) -> Record:
        """The state as it is now. Raises NotFound when there is no such volume."""
        if self.data(volume_id) is None:
            raise NotFound(f"no volume {volume_id!r} in {self.directory}")
        return self._read(volume_id)

    @contextmanager
    def changing(self, volume_id: str) -> Iterator[Record]:
        """The state, to be changed in place: written as a whole when the block ends well."""
        with self.locked():
            record = self.read(volume_id)
            yield record
            self.write(volume_id, record)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold all states against other threads and processes."""
        self.directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        descriptor = os.open(self.directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def write(self, volume_id: str, record: Record) -> None:
        """Write the state, whole or not at all. The lock must be held."""
        path = self._path(volume_id)
        part = path.with_suffix(".json.part")
        part.write_text(json.dumps(asdict(record)))
        part.replace(path)

    def forget(self, volume_id: str) -> None:
        """Remove the state; the data are the caller's to remove first."""
        self._path(volume_id).unlink(missing_ok=True)

    def _path(self, volume_id: str) -> Path:
        return self.directory / f"{volume_id}.json"

    def _read(self, volume_id: str) -> Record:
        try:
            stored = json.loads(self._path(volume_id).read_text())
        except FileNotFoundError:
            return Record()
        except ValueError as error:
            raise DriverError(
                f"the state of volume {volume_id} cannot be read ({self._path(volume_id)}):"
                " remove it when nothing uses the volume",
                driver="volume",
            ) from error
        attachments = {k: Attachment(**v) for k, v in stored.pop("attachments").items()}
        return Record(**stored, attachments=attachments)
