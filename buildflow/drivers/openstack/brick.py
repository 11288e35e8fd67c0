"""Volumes as devices of this host, by os-brick (nova/virt/libvirt/volume/volume.py).

Imported only where a volume is to be connected by the host: os-brick is heavy and an extra. Its
privileged parts run in this process: as root they work, as an ordinary user they fail with EPERM
and say so, and what needs no privilege (a connector, a local file) works for everybody. It
serialises connects and disconnects by a lock file of its own, one for all of this user's builds on
the host, so that no scan for one volume meets the removal of another.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from buildflow.drivers.protocols import Json
from buildflow.errors import DriverError, HostUnusable, Refused

T = TypeVar("T")

_SCAN_ATTEMPTS: Final = 3
_lock: Final = threading.Lock()
_ready = False


def available() -> bool:
    """Whether os-brick is installed."""
    from importlib.util import find_spec

    return find_spec("os_brick") is not None


def connector_properties(my_ip: str, host: str) -> Json:
    """Connector properties of this host, as os-brick finds them (get_connector_properties).

    `initiator` is there only where the host has an iSCSI name of its own. Raises HostUnusable
    where os-brick is not installed.
    """
    return dict(_load().get_connector_properties(None, my_ip, False, False, host=host))


def connect(connection_info: Json) -> str:
    """Make the volume a device here; returns its path. `connection_info` holds the passwords. A
    volume that is connected already gives its path again.

    Raises Refused for a kind that os-brick does not know, HostUnusable where the host has no
    initiator or we no right to use it, DriverError when the device does not come up.
    """
    connector = _connector(connection_info)
    device = _call(
        connection_info, "connect", lambda: connector.connect_volume(connection_info["data"])
    )
    path = device.get("path")
    if not isinstance(path, str):
        raise DriverError(
            f"volume {connection_info['serial']} was connected and has no path", driver="compute"
        )
    return path


def find(connection_info: Json) -> bool:
    """Whether the volume has a device here now."""
    connector = _connector(connection_info)
    data = connection_info["data"]
    return bool(_call(connection_info, "look for", lambda: connector.get_volume_paths(data)))


def disconnect(connection_info: Json) -> None:
    """Flush and remove the device; one that is not there is fine. Raises DriverError when data
    could not be flushed or the device stays: then its export must not be taken back.
    """
    connector = _connector(connection_info)
    data = connection_info["data"]
    _call(connection_info, "disconnect", lambda: connector.disconnect_volume(data, None))


def _connector(connection_info: Json) -> Any:
    brick = _load()
    kind = str(connection_info["driver_volume_type"])
    return _call(
        connection_info,
        "connect",
        lambda: brick.InitiatorConnector.factory(
            kind, None, device_scan_attempts=_SCAN_ATTEMPTS, conn=connection_info
        ),
    )


def _call(connection_info: Json, verb: str, call: Callable[[], T]) -> T:
    """`call`, its errors in our words. The client's own are left out of the chain: a command line
    of iscsiadm may hold a CHAP password.
    """
    from os_brick import exception
    from oslo_concurrency import processutils

    what = f"cannot {verb} {connection_info['driver_volume_type']} volume"
    what = f"{what} {connection_info['serial']} on this host"
    try:
        return call()
    except exception.InvalidConnectorProtocol as error:
        raise Refused(f"{what}: {_one_line(error)}", driver="compute") from None
    except exception.BrickException as error:
        raise DriverError(f"{what}: {_one_line(error)}", driver="compute") from None
    except processutils.ProcessExecutionError as error:
        said = " ".join(f"{error.description or ''} {error.stderr or ''}".split())
        raise HostUnusable(
            f"{what}: {said or 'a command failed'}; it takes root and open-iscsi, and"
            " volume_attach = qemu takes neither"
        ) from None
    except OSError as error:
        raise HostUnusable(
            f"{what}: {error.strerror} ({error.filename}); it takes root and open-iscsi, and"
            " volume_attach = qemu takes neither"
        ) from None


def _load() -> Any:
    """os_brick.initiator.connector, made ready once for this process."""
    global _ready
    with _lock:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # privsep imports eventlet, which deprecates itself
                import os_brick
                from os_brick import privileged
                from os_brick.initiator import connector
        except ImportError:
            raise HostUnusable(
                "connecting volumes by this host needs os-brick: pip install"
                " 'buildflow-vm[brick]', or choose volume_attach = qemu"
            ) from None
        if not _ready:
            from oslo_concurrency import lockutils
            from oslo_config import cfg

            # it warns of initiators that the host has not, which is no news to anybody
            logging.getLogger("os_brick").addHandler(logging.NullHandler())
            lockutils.set_defaults(str(_lock_directory()))
            cfg.CONF([], project="buildflow", default_config_files=[], default_config_dirs=[])
            os_brick.setup(cfg.CONF)
            # no helper process (`sudo privsep-helper`): what we are is what we may do
            privileged.default.set_client_mode(False)
            privileged.brick_privsep_hide_output.set_client_mode(False)
            _ready = True
        return connector


def _lock_directory() -> Path:
    base = os.environ.get("XDG_RUNTIME_DIR")
    if os.geteuid() == 0:
        base = "/run/lock"
    parent = Path(base) if base and Path(base).is_dir() else Path(tempfile.gettempdir())
    directory = parent / f"buildflow-brick-{os.geteuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
