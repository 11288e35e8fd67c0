"""iSCSI portals: `host:port`, `[v6]:port`, with or without the port."""

from __future__ import annotations

from typing import Final

ISCSI_PORT: Final = 3260


def split_portal(portal: str) -> tuple[str, int]:
    """Host (an IPv6 one without its brackets) and port of a portal as Cinder writes it."""
    host, bracket, rest = portal.rpartition("]")
    if bracket:
        return host.removeprefix("["), int(rest.removeprefix(":") or ISCSI_PORT)
    host, colon, port = portal.partition(":")
    return host, int(port) if colon and port else ISCSI_PORT
