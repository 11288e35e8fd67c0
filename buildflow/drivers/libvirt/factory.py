"""The entrance to the libvirt drivers: loads the binding first, then what uses it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from buildflow.config import Settings
from buildflow.drivers.libvirt import binding, uri

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildflow.drivers.libvirt.compute import LibvirtDriver


def compute(settings: Settings, say: Callable[[str], None]) -> LibvirtDriver:
    """The compute driver for `settings.libvirt_uri`. Opens nothing yet. Raises BadInput."""
    target = uri.parse(settings.libvirt_uri)
    log: Path | None = None if target.root is None else target.root / "libvirt.log"
    binding.load(log)
    from buildflow.drivers.libvirt.compute import LibvirtDriver
    from buildflow.drivers.libvirt.connection import Connection

    connection = Connection(target, settings.home, wait_s=settings.hypervisor_wait_s, say=say)
    return LibvirtDriver(settings, connection)
