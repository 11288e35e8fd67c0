"""Ports that exist nowhere but with us: a NIC on QEMU's own NAT or on a bridge of the host.

Such a port is its MAC, so that is what is written down, in HOME/ports/KEY.json; thereby what exists
can be listed, found by its key and compared as with any other network.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from buildflow.errors import DriverError


@dataclass(frozen=True, slots=True)
class PortRecord:
    """One port: its network as asked for, its MAC, and the instance it was made for."""

    network: str
    mac: str
    instance: str


class PortRecords:
    """The ports in one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def find(self, key: str) -> PortRecord | None:
        """The port with this key, None when there is none; a file cut short by a loss of power is
        none, for a port is made again from its key.
        """
        try:
            return PortRecord(**json.loads(self._path(key).read_text()))
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
            return None

    def keep(self, key: str, record: PortRecord) -> None:
        """Write it down, whole or not at all. Raises DriverError when the disk does not take it."""
        path = self._path(key)
        part = path.with_suffix(f".part{os.getpid()}")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            part.write_text(json.dumps(asdict(record)))
            part.replace(path)
        except OSError as error:
            raise DriverError(
                f"cannot note port {key}: {error.strerror}", driver="network", code=error.errno
            ) from error

    def forget(self, key: str) -> None:
        """Remove it; one that is not there is fine."""
        self._path(key).unlink(missing_ok=True)

    def all(self) -> Iterator[tuple[str, PortRecord]]:
        """Each port with its key."""
        for path in sorted(self.directory.glob("*.json")):
            record = self.find(path.stem)
            if record is not None:
                yield path.stem, record

    def _path(self, key: str) -> Path:
        return self.directory / f"{key}.json"
