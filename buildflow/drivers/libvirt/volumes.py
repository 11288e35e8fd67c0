"""Volumes on this host: left to QEMU's own initiator, or connected as a device by os-brick."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from buildflow.config import Settings
from buildflow.drivers.libvirt.disk_xml import NETWORK
from buildflow.drivers.protocols import Json
from buildflow.errors import Refused

_LOCAL: Final = "local"


class Volumes:
    """What `volume_attach` (qemu, host or auto) makes of a connection_info."""

    def __init__(self, settings: Settings, host: str) -> None:
        self._mode = settings.volume_attach
        self._host = host

    def connector(self) -> Json:
        """Connector properties for the volume service, with `host`."""
        return {"host": self._host}

    def connect(self, connection_info: Json, secret: Callable[[], Json]) -> Json:
        """What to add to connection_info['data']: nothing for QEMU's own initiator."""
        kind = connection_info["driver_volume_type"]
        if kind == _LOCAL:
            path = connection_info["data"]["device_path"]
            if not Path(path).exists():
                raise Refused(f"volume file {path} is not there", driver="compute")
            return {}
        if kind in NETWORK:
            return {}
        raise Refused(f"volumes of type {kind!r} are not supported here", driver="compute")

    def find(self, connection_info: Json) -> bool:
        """Whether this host has the volume open as a device now."""
        return False

    def disconnect(self, connection_info: Json) -> None:
        """Nothing was connected."""
