"""kvm or qemu? Decided by booting something, once per host boot, and remembered in the home.

libvirt lists kvm when /dev/kvm can be opened, and a guest may hang or stop on it all the same
(nested virtualisation that is switched on but does not work), so its word is not taken.
"""

from __future__ import annotations

import os
import platform
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from buildflow.config import Settings
from buildflow.drivers.host_memory import HostMemory, boot_id, file_identity
from buildflow.drivers.libvirt import boot_probe
from buildflow.drivers.libvirt.connection import Connection
from buildflow.drivers.libvirt.kvm_rights import KVM
from buildflow.drivers.libvirt.uri import Kind
from buildflow.drivers.protocols import GuestSpec
from buildflow.errors import BadInput, DriverError

KINDS: Final = ("kvm", "qemu")
_FACT: Final = "kvm"


class VirtTypes:
    """The choice for one host. `to_xml` and `owner` are for the probe (see boot_probe)."""

    def __init__(
        self,
        connection: Connection,
        settings: Settings,
        owner: tuple[int, int] | None,
        to_xml: Callable[[GuestSpec], str],
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._owner = owner
        self._to_xml = to_xml
        self._memory = HostMemory(settings.home)
        self._lock = threading.Lock()
        self._works: bool | None = None

    def choose(self, wanted: str | None) -> str:
        """`wanted`, else what the settings say, else kvm when its boot probe passed, else qemu.

        A remote host is not probed, for its disks are not ours to write: qemu unless it is told.
        Raises BadInput for an unknown type, or for kvm on a host without it.
        """
        kind = self._connection.target.kind
        if kind is Kind.TEST:
            return "test"
        chosen = wanted or self._settings.virt_type
        if chosen is None:
            return "kvm" if kind is not Kind.REMOTE and self.kvm_works() else "qemu"
        if chosen not in KINDS:
            raise BadInput(f"virt type {chosen!r} is unknown: use {' or '.join(KINDS)}")
        if chosen == "kvm" and kind is not Kind.REMOTE and not KVM.exists():
            raise BadInput(f"virt type kvm: this host has no {KVM}; use qemu")
        return chosen

    def kvm_works(self) -> bool:
        """Whether the boot probe passed on this host since it booted; probes when nobody has."""
        with self._lock:
            if self._works is None:
                self._works = self._find_out()
            return self._works

    def _find_out(self) -> bool:
        if not KVM.exists() or platform.machine() != "x86_64":
            return False  # the probe's program is x86's
        conditions = kvm_conditions(self._connection.target.uri)
        known = self._memory.recall(_FACT, conditions)
        if known is None:
            try:
                why = self._kvm_flaw()
                if why is not None and self._probe("qemu") is not None:
                    return False  # no guest starts here at all: nothing was learnt of KVM
            except DriverError:
                return False  # no room for a probe just now: nothing was learnt
            known = {"works": why is None, "why": why}
            self._memory.keep(_FACT, conditions, known)
        return bool(known["works"])

    def _kvm_flaw(self) -> str | None:
        """What is wrong with KVM; a QEMU that dies of it at its start (a register that the host
        will not set) says as much as a guest that never boots. The other probe tells whether any
        guest starts here.
        """
        try:
            return self._probe("kvm")
        except DriverError as error:
            return error.summary

    def _probe(self, kind: str) -> str | None:
        home = self._settings.home / "host"
        return boot_probe.run(self._connection, home, self._owner, self._to_xml, kind)


def kvm_conditions(uri: str) -> dict[str, object]:
    """What a probe's result holds for: this boot, this QEMU, these rights on /dev/kvm."""
    qemu = shutil.which(f"qemu-system-{platform.machine()}")
    found = KVM.stat()
    return {
        "boot": boot_id(),
        "uri": uri,
        "qemu": file_identity(Path(qemu)) if qemu else None,
        "kvm": [found.st_mode, found.st_uid, found.st_gid],
        "uid": os.geteuid(),
    }


def kvm_probe_result(home: Path, uri: str) -> dict[str, object] | None:
    """What the last probe found (`works`, `why`), None when none holds any more. For `doctor`."""
    if not KVM.exists():
        return None
    found: dict[str, object] | None = HostMemory(home).recall(_FACT, kvm_conditions(uri))
    return found
