"""Judges an image by its first bytes, before gigabytes of it are fetched.

The whole file is inspected again when it is here (files/inspection.py); this only spares the fetch
of what would be refused then.
"""

from __future__ import annotations

import io
from typing import Final

from oslo_utils.imageutils import format_inspector

LENGTH: Final = 1 << 18
"""Bytes wanted: qcow2 keeps its header, extensions and backing file's name in the first cluster."""

_RAW: Final = frozenset({"raw", "gpt"})


def problem(head: bytes, promised: str) -> str | None:
    """Why an image that begins with `head` and is called `promised` (raw or qcow2) is refused;
    None when nothing speaks against it yet.
    """
    if not head:
        return "it is empty"
    stream = format_inspector.InspectWrapper(io.BytesIO(head))
    while stream.read(1 << 16):
        pass
    stream.close()
    found = {str(inspector): inspector for inspector in stream.formats or ()}
    names = set(found) - _RAW
    if promised == "raw":
        return f"it is called raw, and its bytes are {', '.join(sorted(names))}" if names else None
    if names != {promised}:
        return f"it is called {promised}, and its bytes are {', '.join(sorted(names)) or 'raw'}"
    try:
        found[promised].safety_check()
    except format_inspector.SafetyCheckFailed as error:
        return "; ".join(f"{name}: {why}" for name, why in sorted(error.failures.items()))
    return None
