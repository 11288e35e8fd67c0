"""What exists on this host, ours or not, as the compute driver's part of an inventory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from buildflow.drivers.files.instance_directory import InstanceDirectories
from buildflow.drivers.libvirt import qemu_process
from buildflow.drivers.protocols import Domain, Thing


def domains(found: Iterable[Domain]) -> Iterator[Thing]:
    """Kind `domain`, and kind `guest` for an active one; `build` is None for those not ours."""
    for domain in found:
        detail = {
            "name": domain.name,
            "power_state": domain.power_state,
            "active": domain.active,
            "persistent": domain.persistent,
        }
        yield Thing("domain", domain.uuid, key=domain.uuid, build=domain.build, detail=detail)
        if domain.active:
            yield Thing("guest", domain.uuid, key=domain.uuid, build=domain.build, detail=detail)


def processes(found: Iterable[Domain], below: Path | None) -> Iterator[Thing]:
    """Kind `process`: QEMUs of this host behind which no active domain of this hypervisor stands.

    `below` is where this hypervisor keeps its files, which tells its QEMUs from others'; without it
    they may be another hypervisor's, and no build is named in either case.
    """
    known = {domain.uuid for domain in found if domain.active}
    for pid, uuid in qemu_process.all_guests(below):
        if uuid not in known:
            yield Thing("process", str(pid), key=uuid, detail={"uuid": uuid})


def files(directories: InstanceDirectories) -> Iterator[Thing]:
    """Kinds `directory` and `disk`; half-made disks carry `part` in their detail."""
    for key in directories.all():
        path = directories.find(key)
        if path is None:
            continue
        yield Thing("directory", str(path), key=key)
        for disk in sorted(path.glob("disk-*.qcow2*")):
            name, _, rest = disk.name.partition(".qcow2")
            yield Thing(
                "disk",
                str(disk),
                key=name.removeprefix("disk-"),
                detail={"directory": str(path), "part": bool(rest)},
            )
