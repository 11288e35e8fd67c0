"""Ids that the simulated services give: made from the key, so that every run finds the same."""

from __future__ import annotations

import hashlib
from typing import Final

SECRET_MARK: Final = "SIMULATED-CHAP-PASSWORD"  # noqa: S105 - nobody's password
"""Part of every password of a simulated volume, so that a search for leaks can look for it."""


def derive(kind: str, *parts: str) -> str:
    """A uuid-shaped id."""
    raw = hashlib.blake2b("/".join((kind, *parts)).encode(), digest_size=16).hexdigest()
    return f"{raw[:8]}-{raw[8:12]}-4{raw[13:16]}-8{raw[17:20]}-{raw[20:]}"


def chap_password(attachment_id: str) -> str:
    """The password of an export. It is nowhere kept."""
    return f"{SECRET_MARK}-{derive('chap', attachment_id)[:13]}"


def fingerprint_of(password: str) -> str:
    """What is kept of a password, to tell a right one from a wrong one."""
    return hashlib.blake2b(password.encode(), digest_size=8).hexdigest()
