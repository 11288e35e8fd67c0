"""Text as it may be shown: the credentials of a URL reach no log, listing, row or error message."""

from __future__ import annotations

import re
from typing import Final

# greedy: a password may hold an @ or a / that nobody has written as %40 or %2F; `USER` is nobody,
# but what our own advice calls whoever reads it
_USER: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?!USER@)(?P<user>[^\s@]\S*|)@")
_PARAMETER: Final = re.compile(r"\b(?P<name>(?:ssl)?pass(?:word|wd)=)[^&\s'\"]+", re.IGNORECASE)
# who logs in at a hypervisor is part of its address and no secret; libvirt takes no passwords there
_HYPERVISOR: Final = re.compile(r"(?:qemu|test|xen|lxc|ch|bhyve|vz|esx|vpx)\b", re.IGNORECASE)


def without_credentials(text: str) -> str:
    """`text` with user and password left out of every URL in it."""
    return _PARAMETER.sub(r"\g<name>***", _USER.sub(_shown, text)) if _suspect(text) else text


def _suspect(text: str) -> bool:
    return "://" in text or "pass" in text.lower()


def _shown(found: re.Match[str]) -> str:
    scheme, user = found["scheme"], found["user"].partition(":")[0]
    return f"{scheme}{user}@" if user and _HYPERVISOR.match(scheme) else scheme
