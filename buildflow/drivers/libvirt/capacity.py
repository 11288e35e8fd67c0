"""Can this host ever run so large a guest? Asked before anything is made."""

from __future__ import annotations

from typing import Final

from buildflow.drivers.libvirt.connection import Connection
from buildflow.drivers.protocols import GuestSpec
from buildflow.errors import BadInput, Exhausted

# what QEMU's and libvirt's default machine takes; libvirt's own answer costs a capability probe
_MAX_VCPUS: Final = {"pc": 255, "virt": 512}


def check(connection: Connection, spec: GuestSpec) -> None:
    """Raise BadInput for sizes that no host has, Exhausted for more memory than this one has."""
    if spec.memory_mib < 1:
        raise BadInput(f"memory must be at least 1 MiB, not {spec.memory_mib}")
    if not 1 <= spec.vcpus <= _MAX_VCPUS["pc"]:
        raise BadInput(f"a machine has 1 to {_MAX_VCPUS['pc']} vcpus, not {spec.vcpus}")
    with connection.calling("ask for the host's memory") as conn:
        total = int(conn.getInfo()[1])
    if spec.memory_mib > total:
        raise Exhausted(
            f"{spec.memory_mib} MiB of memory are asked for, and this host has {total} in all",
            driver="compute",
        )
