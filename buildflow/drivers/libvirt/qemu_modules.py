"""Which block drivers this host's QEMU has. Distributions ship some of them in extra packages."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Final

# where distributions keep QEMU's loadable modules
_PLACES: Final = (
    "/usr/lib/*-linux-gnu/qemu",
    "/usr/lib/qemu",
    "/usr/lib64/qemu",
    "/usr/lib64/qemu-kvm",
)
# built into every QEMU
_BUILT_IN: Final = frozenset({"nbd", "file", "host_device"})


def missing(protocol: str) -> str | None:
    """None when QEMU here can open `protocol` by itself, else what is missing and its cure.

    A QEMU without any modules is taken to have everything built in: it will say so if not.
    """
    found = modules()
    if protocol in _BUILT_IN or not found or f"block-{protocol}" in found:
        return None
    return f"QEMU's {protocol} driver is not installed (apt-get install qemu-block-extra)"


@functools.cache
def modules() -> frozenset[str]:
    """The names of QEMU's loadable modules here."""
    return frozenset(path.stem for place in _PLACES for path in Path("/").glob(f"{place[1:]}/*.so"))
