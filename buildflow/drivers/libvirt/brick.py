"""Volumes as devices of this host, by os-brick (nova/virt/libvirt/volume/iscsi.py and its like).

Imported only where a volume is to be connected by the host: os-brick is heavy and an extra.
"""

from __future__ import annotations

import os
from typing import Any, Final

from buildflow.drivers.protocols import Json
from buildflow.errors import DriverError, HostUnusable, Refused

_ATTEMPTS: Final = 3
# Cinder's names for what os-brick calls otherwise
_PROTOCOLS: Final = {"fibre_channel": "FIBRE_CHANNEL", "nvmeof": "NVMEOF", "nvme": "NVMEOF"}


def available() -> bool:
    """Whether os-brick is installed."""
    from importlib.util import find_spec

    return find_spec("os_brick") is not None


def connector_properties(my_ip: str, host: str) -> Json:
    """Connector properties of this host, as os-brick finds them. Raises HostUnusable."""
    properties: Json = dict(
        _connectors().get_connector_properties(
            _root_helper(), my_ip, multipath=False, enforce_multipath=False, host=host
        )
    )
    return properties


def connect(connection_info: Json) -> str:
    """Log in, wait for the device, return its path. `connection_info` holds the passwords.

    Raises Refused when the host has no initiator for it, DriverError when it does not come up.
    """
    from os_brick import exception

    brick = _connector(connection_info)
    try:
        device = brick.connect_volume(connection_info["data"])
    except exception.BrickException as error:
        raise DriverError(
            f"this host cannot open the volume: {_first_line(error)}", driver="compute"
        ) from error
    return str(device["path"])


def find(connection_info: Json) -> bool:
    """Whether the volume has a device here now."""
    return bool(_connector(connection_info).get_volume_paths(connection_info["data"]))


def disconnect(connection_info: Json) -> None:
    """Flush the device, remove it and log out; one that is not there is fine."""
    from os_brick import exception

    data = connection_info["data"]
    try:
        _connector(connection_info).disconnect_volume(
            data, {"path": data.get("device_path"), "type": "block"}
        )
    except (exception.VolumeDeviceNotFound, exception.TargetPortalNotFound):
        return
    except exception.BrickException as error:
        raise DriverError(
            f"this host cannot close the volume: {_first_line(error)}", driver="compute"
        ) from error


def _connector(connection_info: Json) -> Any:
    kind = str(connection_info["driver_volume_type"])
    from os_brick import exception

    try:
        return _connectors().InitiatorConnector.factory(
            _PROTOCOLS.get(kind, kind.upper()),
            _root_helper(),
            use_multipath=False,
            device_scan_attempts=_ATTEMPTS,
            conn=connection_info,
        )
    except (exception.InvalidConnectorProtocol, ValueError) as error:
        raise Refused(
            f"os-brick cannot connect volumes of type {kind!r}", driver="compute"
        ) from error


def _connectors() -> Any:
    try:
        from os_brick import privileged
        from os_brick.initiator import connector
    except ImportError:
        raise HostUnusable(
            "connecting volumes by this host needs os-brick: pip install 'buildflow-vm[brick]',"
            " or set volume_attach to qemu"
        ) from None
    if os.geteuid() == 0:
        # we are privileged already: no helper process is needed to become so
        privileged.default.set_client_mode(False)
    return connector


def _root_helper() -> str:
    return "" if os.geteuid() == 0 else "sudo"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
