"""Boots a sector under KVM, to see whether KVM works here rather than whether it is listed.

The guest has the same shape as every guest of ours. Its program goes the way of a boot loader and a
kernel into long mode, because KVM on half-working hosts was seen to run firmware and then to stop
at the first IRET in protected mode; then it writes a line to the serial console and halts.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

import libvirt

from buildflow.drivers.files.instance_directory import InstanceDirectories
from buildflow.drivers.libvirt import embedded_root
from buildflow.drivers.libvirt.connection import Connection
from buildflow.drivers.libvirt.console import Consoles
from buildflow.drivers.libvirt.power import power_state
from buildflow.drivers.protocols import GuestSpec
from buildflow.errors import Refused
from buildflow.states import power

MARK: Final = b"BUILDFLOW-PROBE"
# a firmware under working KVM is through in half a second; the rest is for a loaded host
DEADLINE_S: Final = 8.0
_POLL_S: Final = 0.02
_NAME: Final = "buildflow-probe-"

# boot_probe.S, assembled; tests/drivers/libvirt/test_boot_probe.py assembles it again
_CODE: Final = bytes.fromhex(
    "fafc6631c08ed88ec08ed0bc007cbf009066b9000c000066f3abc706009003a0c70600a003b0c706"
    "00b083000f0116c07c0f20c00c010f22c0ea3e7c080066b810008ed88ec08ed0bc007c00009c6a08"
    "68567c0000cf0f20e083c8200f22e0b8009000000f22d8b9800000c00f320d000100000f300f20c0"
    "0d000000800f22c0ea877c00001800bec67c0000baf8030000ac84c07403eeebf8f4ebfd0f1f4000"
    "0000000000000000ffff0000009acf00ffff00000092cf00ffff0000009aaf001f00a07c00004255"
    "494c44464c4f572d50524f42450d0a00"
)
_SECTOR: Final = 512
# the firmware does not boot a virtio disk that is too small to have a cylinder
_DISK: Final = 1 << 20


def boot_sector() -> bytes:
    """The first sector of a disk that boots and writes MARK to the serial port."""
    return _CODE.ljust(_SECTOR - 2, b"\0") + b"\x55\xaa"


def run(
    connection: Connection,
    home: Path,
    owner: tuple[int, int] | None,
    to_xml: Callable[[GuestSpec], str],
    virt_type: str = "kvm",
) -> str | None:
    """None when a guest of `virt_type` boots here, else why not. Leaves nothing behind.

    `to_xml` writes domains for this host; files are made under `home` for QEMU's user `owner`.
    Raises Exhausted or DriverError when the host could not run any probe just now.
    """
    probe = str(uuid.uuid4())
    directories = InstanceDirectories(home / "probe", owner, shared=connection.target.privileged)
    _clear(connection, directories)
    directory = directories.create(probe)
    try:
        disk = directory / "sector.raw"
        disk.write_bytes(boot_sector())
        os.truncate(disk, _DISK)
        if owner is not None:
            shutil.chown(disk, *owner)
        spec = GuestSpec(
            uuid=probe,
            name=_NAME + probe[:8],
            memory_mib=32,
            vcpus=1,
            virt_type=virt_type,
            directory=str(directory),
            root_disk=str(disk),
            root_disk_format="raw",
            network_info=(),
            block_device_info={"root_device_name": "/dev/vda", "block_device_mapping": []},
        )
        return _boot(connection, probe, to_xml(spec))
    finally:
        directories.delete(probe)
        if connection.target.root is not None:
            embedded_root.remove_log(connection.target.root, _NAME + probe[:8])


def _boot(connection: Connection, probe: str, xml: str) -> str | None:
    consoles = Consoles(connection)
    try:
        with connection.calling("boot a probe") as conn:
            domain = conn.createXML(xml, libvirt.VIR_DOMAIN_NONE)
    except Refused as error:
        return str(error)
    written, offset = b"", 0
    deadline = time.monotonic() + DEADLINE_S
    try:
        while time.monotonic() < deadline:
            data, offset = consoles.read(probe, offset)
            written += data
            if MARK in written:
                return None
            state = power_state(*domain.state())
            if state != power.RUNNING:
                return f"the probe became {power.NAMES[state]} instead of booting"
            time.sleep(_POLL_S)
        return f"the probe wrote nothing within {DEADLINE_S:g} s"
    except libvirt.libvirtError as error:
        return f"the probe ended: {error.get_error_message()}"
    finally:
        with contextlib.suppress(libvirt.libvirtError):  # it may have ended by itself
            domain.destroy()


def _clear(connection: Connection, directories: InstanceDirectories) -> None:
    """Remove what a killed process left of its probe (embedded libvirt cannot do it for us)."""
    with connection.calling("clear old probes") as conn:
        for domain in conn.listAllDomains():
            if domain.name().startswith(_NAME):
                with contextlib.suppress(libvirt.libvirtError):
                    domain.destroy()
    for key in directories.all():
        directories.delete(key)
