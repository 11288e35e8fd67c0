"""connection_info in one shape, with and without its secrets (seed, section 3).

Cinder has two: the old protocol answers `{driver_volume_type, data: {...}}`, the attachments API
one flat dict with `driver_volume_type` inside (nova/volume/cinder.py:
_translate_attachment_ref). Ours is the documented one:
`{driver_volume_type, serial, data: {...}}`, serial being the volume's id.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any, Final

from buildflow.drivers.protocols import Json

# Fields of an attachment, and the top level of the nested shape: not the connection's own data.
_ENVELOPE: Final = frozenset(
    {"driver_volume_type", "serial", "data", "status", "instance", "attached_at", "detached_at"}
)

# What stands beside a password and is none: the uuid of a libvirt secret says nothing by itself.
_HARMLESS: Final = frozenset({"secret_uuid", "secret_type"})
_SECRET: Final = re.compile(r"password|passphrase|passwd|keyring|secret|token|private_key", re.I)


def nested(raw: Mapping[str, Any], volume_id: str) -> Json:
    """Either shape as the documented one, secrets included: not for keeping."""
    inner = raw.get("data")
    data = dict(inner) if isinstance(inner, Mapping) else _flat_data(raw)
    return {
        "driver_volume_type": str(raw.get("driver_volume_type") or ""),
        "serial": str(raw.get("serial") or volume_id),
        "data": copy.deepcopy(data),
    }


def without_secrets(info: Mapping[str, Any]) -> Json:
    """A copy in which no value is a secret, at any depth. The keys of secrets go as well."""
    return {key: _clean(value) for key, value in info.items() if not _is_secret(key)}


def has_secret(info: Mapping[str, Any]) -> bool:
    """Whether `info` holds anything that `without_secrets` would take away."""
    return any(
        _is_secret(key) or (isinstance(value, Mapping) and has_secret(value))
        for key, value in info.items()
    )


def _flat_data(raw: Mapping[str, Any]) -> Json:
    return {key: value for key, value in raw.items() if key not in _ENVELOPE}


def _clean(value: Any) -> Any:
    if isinstance(value, Mapping):
        return without_secrets(value)
    if isinstance(value, (list, tuple)):
        return [_clean(item) for item in value]
    return value


def _is_secret(key: object) -> bool:
    name = str(key)
    return name not in _HARMLESS and _SECRET.search(name) is not None
