"""The entrance to the libvirt drivers: loads the binding first, then what uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildflow.config import Settings
from buildflow.drivers.libvirt import binding, uri
from buildflow.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildflow.drivers.libvirt.compute import LibvirtDriver
    from buildflow.drivers.libvirt.connection import Connection
    from buildflow.drivers.libvirt.networks import LibvirtNetworkDriver


def compute(settings: Settings, say: Callable[[str], None]) -> LibvirtDriver:
    """The compute driver for `settings.libvirt_uri`. Opens nothing yet. Raises BadInput."""
    connection = _connection(settings, say)
    from buildflow.drivers.libvirt.compute import LibvirtDriver

    return LibvirtDriver(settings, connection)


def network(settings: Settings, say: Callable[[str], None]) -> LibvirtNetworkDriver:
    """The driver of that hypervisor's networks. Raises BadInput where it has none."""
    target = uri.parse(settings.libvirt_uri)
    if not target.has_networks:
        raise BadInput(
            f"{target.uri} has no networks of libvirt's: use the network driver `user`, or"
            " connect to qemu:///system"
        )
    connection = _connection(settings, say)
    from buildflow.drivers.libvirt.networks import LibvirtNetworkDriver

    return LibvirtNetworkDriver(connection, settings.home / "ports" / "libvirt")


def _connection(settings: Settings, say: Callable[[str], None]) -> Connection:
    target = uri.parse(settings.libvirt_uri)
    binding.load(None if target.root is None else target.root / "libvirt.log")
    from buildflow.drivers.libvirt.connection import Connection

    return Connection(target, settings.home, wait_s=settings.hypervisor_wait_s, say=say)
