"""Keys: known before a call, and after any crash."""

from __future__ import annotations

import uuid


def effect_key(build: str, step: str, attempt: int) -> str:
    """The key of the effect that `step` makes in the `attempt`-th try (from 1) of `build`."""
    return str(uuid.uuid5(uuid.UUID(build), f"{step}#{attempt}"))
