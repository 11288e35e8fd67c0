"""Volumes as devices of this host, by os-brick (nova/virt/libvirt/volume/volume.py).

os-brick is imported when it is first needed. Its privileged parts run in this process unless
`extra["brick_root_helper"]` names a helper (`sudo`): as root they work, as an ordinary user they
fail with EPERM, and what needs no privilege (a connector for QEMU's own initiator, a local file)
works for everybody. os-brick serialises connects and disconnects of one host by a lock of its own,
a file under HOME/locks, so that no scan of one volume meets the removal of another.
"""

from __future__ import annotations

import logging
import threading
import warnings
from typing import Any, Final

from oslo_utils import netutils

from buildflow.config import Settings
from buildflow.drivers.protocols import Json
from buildflow.errors import DriverError, HostUnusable, Refused

QEMU_IQN: Final = "iqn.2008-11.org.linux-kvm:"
"""What QEMU calls itself where the host has no initiator's name; ours follows it by the host."""

_SCAN_ATTEMPTS: Final = 3
_lock: Final = threading.Lock()
_ready = False


def get_connector(settings: Settings, host: str) -> Json:
    """Connector properties of `host` (os_brick get_connector_properties), always with an initiator.

    A backend that grants access by initiator must see the name that will log in: the host's own
    (`/etc/iscsi/initiatorname.iscsi`), which QEMU is told to use as well, else `QEMU_IQN` and the
    host's name. Without os-brick only what QEMU's own drivers need is there.
    """
    address = str(settings.extra.get("my_ip") or netutils.get_my_ipv4())
    try:
        connector = _load(settings).get_connector_properties(
            _root_helper(settings), address, False, True, host=host
        )
    except HostUnusable:
        connector = {"ip": address, "host": host, "multipath": False, "enforce_multipath": True}
    return {"initiator": QEMU_IQN + host, **connector}


def connect_volume(settings: Settings, connection_info: Json) -> Json:
    """Make the volume a device here; returns `{"device_path": ...}`. `connection_info` is the full
    one, passwords included. A volume that is connected already gives its path again.
    """
    connector = _connector(settings, connection_info)
    device = _call(
        connection_info, "connect", lambda: connector.connect_volume(connection_info["data"])
    )
    path = device.get("path")
    if not isinstance(path, str):
        raise DriverError(
            f"volume {connection_info['serial']} was connected and has no path", driver="compute"
        )
    return {"device_path": path}


def find_connection(settings: Settings, connection_info: Json) -> bool:
    """Whether this host has the volume as a device now."""
    connector = _connector(settings, connection_info)
    return bool(
        _call(
            connection_info, "look for", lambda: connector.get_volume_paths(connection_info["data"])
        )
    )


def disconnect_volume(settings: Settings, connection_info: Json) -> None:
    """Flush and remove the device; one that is not there is fine. Raises DriverError when data
    could not be flushed or the device stays: then Cinder must not take its export back.
    """
    connector = _connector(settings, connection_info)
    _call(
        connection_info,
        "disconnect",
        lambda: connector.disconnect_volume(connection_info["data"], None),
    )


def _connector(settings: Settings, connection_info: Json) -> Any:
    brick = _load(settings)
    return _call(
        connection_info,
        "connect",
        lambda: brick.InitiatorConnector.factory(
            connection_info["driver_volume_type"],
            _root_helper(settings),
            device_scan_attempts=_SCAN_ATTEMPTS,
        ),
    )


def _call(connection_info: Json, verb: str, call: Any) -> Any:
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
        # the command line may hold a CHAP password: only what it said is passed on
        said = " ".join(f"{error.description or ''} {error.stderr or ''}".split())
        raise DriverError(
            f"{what}: {said or 'a command failed'}; volume_attach = qemu needs no initiator on the"
            " host",
            driver="compute",
        ) from None
    except (PermissionError, FileNotFoundError) as error:
        raise HostUnusable(
            f"{what}: {error.strerror} ({error.filename}); run as root with open-iscsi installed,"
            " or choose volume_attach = qemu"
        ) from None


def _load(settings: Settings) -> Any:
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
                "os-brick is not installed, which volume_attach = host needs: pip install os-brick"
            ) from None
        if not _ready:
            from oslo_concurrency import lockutils
            from oslo_config import cfg

            logging.getLogger("os_brick").addHandler(logging.NullHandler())
            locks = settings.home / "locks"
            locks.mkdir(parents=True, exist_ok=True)
            lockutils.set_defaults(str(locks))
            cfg.CONF([], project="buildflow", default_config_files=[], default_config_dirs=[])
            os_brick.setup(cfg.CONF)
            if _root_helper(settings) is None:
                privileged.default.set_client_mode(False)
                privileged.brick_privsep_hide_output.set_client_mode(False)
            _ready = True
        return connector


def _root_helper(settings: Settings) -> str | None:
    helper = settings.extra.get("brick_root_helper")
    return str(helper) if helper else None


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
