"""Loads the `libvirt` binding once, quiet, and with the event loop that embedded mode needs.

The binding reads LIBVIRT_LOG_OUTPUTS while it is imported and never again, and an event loop must
be registered before the first connection: both are properties of the process, hence of this file.
"""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from typing import Any, Final

from buildflow.drivers.libvirt import short_path
from buildflow.errors import HostUnusable

_LOG_OUTPUTS: Final = "LIBVIRT_LOG_OUTPUTS"
_SAYABLE: Final = re.compile(r"[\w/.,;=+@-]*", re.ASCII)
_LOG_LIMIT: Final = 1 << 20
_lock = threading.Lock()
_loaded: Any = None


def load(log: Path | None = None) -> Any:
    """The `libvirt` module, with its event loop running in a thread.

    Warnings and errors of the embedded driver go to `log` (made with its directory) instead of
    stderr; what the user has set in LIBVIRT_LOG_OUTPUTS wins. Only the first call's `log` counts.
    """
    global _loaded
    with _lock:
        if _loaded is None:
            _loaded = _import(log)
        return _loaded


def _import(log: Path | None) -> Any:
    quiet = _LOG_OUTPUTS not in os.environ
    if quiet:
        os.environ[_LOG_OUTPUTS] = f"3:file:{os.devnull if log is None else _sayable(log)}"
    try:
        import libvirt
    finally:
        if quiet:
            del os.environ[_LOG_OUTPUTS]
    # every error reaches the caller as an exception; the default handler would print it as well
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    libvirt.virEventRegisterDefaultImpl()
    threading.Thread(
        target=_run_events, args=(libvirt,), name="libvirt-events", daemon=True
    ).start()
    return libvirt


def _sayable(log: Path) -> Path:
    """`log`, by a name that LIBVIRT_LOG_OUTPUTS can hold: blanks and colons separate there."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        # libvirt logs every name that is looked up in vain, and lets the file grow for ever
        if log.exists() and log.stat().st_size > _LOG_LIMIT:
            log.replace(log.with_name(f"{log.name}.1"))
        if _SAYABLE.fullmatch(str(log)):
            return log
        return short_path.ensure(log.parent) / log.name
    except (OSError, HostUnusable):
        return Path(os.devnull)  # opening the hypervisor will say what is wrong with the place


def _run_events(libvirt: Any) -> None:
    while True:
        libvirt.virEventRunDefaultImpl()
