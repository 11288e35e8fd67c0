"""MAC addresses: made from a port's key, so that every attempt and every crash finds the same."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from buildflow.errors import BadInput

_QEMU_PREFIX: Final = "52:54:00"
_MAC: Final = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", re.IGNORECASE)


def mac_from_key(key: str, turn: int = 0) -> str:
    """The MAC of the port with this key; `turn` counts up when an earlier one is taken."""
    digest = hashlib.sha256(f"{key}/{turn}".encode()).hexdigest()
    return ":".join((_QEMU_PREFIX, digest[0:2], digest[2:4], digest[4:6]))


def check_mac(mac: str) -> None:
    """Raise BadInput for what is no unicast MAC address."""
    if not _MAC.fullmatch(mac) or int(mac[:2], 16) & 1 or mac.replace(":", "").strip("0") == "":
        raise BadInput(f"{mac!r} is no MAC address of one machine, such as 52:54:00:12:34:56")
