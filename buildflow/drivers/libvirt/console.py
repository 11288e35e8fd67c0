"""Reads console logs from where a reader left off. Raw bytes: the caller decodes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import libvirt
from lxml import etree

from buildflow.drivers.libvirt.connection import Connection
from buildflow.errors import DriverError, Refused

_CHUNK: Final = 1 << 20


class Consoles:
    """The console logs of one hypervisor's guests."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._paths: dict[str, Path] = {}

    def read(self, uuid: str, offset: int = 0) -> tuple[bytes, int]:
        """Up to 1 MiB of the log from byte `offset`, and the offset after it.

        A log that became shorter (the guest was started again) is read from its beginning; a guest
        without a log gives nothing. Raises DriverError when the log may not be read, Refused when
        the guest is on another host.
        """
        if not self._connection.target.local:
            raise Refused(
                "the console of a guest on another host is not read here: wait for its power"
                " state or its address",
                driver="compute",
            )
        path = self._path(uuid)
        if path is None:
            return b"", offset
        try:
            with path.open("rb") as log:
                if log.seek(0, 2) < offset:
                    offset = 0
                log.seek(offset)
                data = log.read(_CHUNK)
        except FileNotFoundError:
            return b"", offset
        except PermissionError as error:
            raise DriverError(
                f"the console log {path} may not be read: it belongs to the hypervisor's own user",
                driver="compute",
                code=error.errno,
            ) from error
        return data, offset + len(data)

    def _path(self, uuid: str) -> Path | None:
        known = self._paths.get(uuid)
        if known is None:
            with self._connection.calling("look for the console log") as conn:
                try:
                    xml = conn.lookupByUUIDString(uuid).XMLDesc(0)
                except libvirt.libvirtError as error:
                    if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                        return None
                    raise
            file = etree.fromstring(xml).find("./devices/serial/log")
            if file is None:
                return None
            known = self._paths.setdefault(uuid, Path(file.get("file", "")))
        return known
