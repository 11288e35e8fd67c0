"""The kinds of effect that a build makes, where, and what must be gone before each may be undone.

The table is the rule of rollback (nova/compute/manager.py: _shutdown_instance, and where it fails):
a volume is never unmapped in Cinder while its host may still have it open, a network is never
released and no disk deleted under a guest that could not be stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Service = Literal["compute", "network", "volume", "capacity"]


@dataclass(frozen=True, slots=True)
class EffectKind:
    """One kind: which driver makes it, what it is, how it is undone, and the kinds that must be
    gone before that.
    """

    name: str
    service: Service
    what: str
    undo: str
    undo_after: tuple[str, ...] = ()


KINDS: Final[dict[str, EffectKind]] = {
    kind.name: kind
    for kind in (
        EffectKind(
            "claim", "capacity", "room claimed on a host", "release the claim",
            ("guest", "domain", "directory"),
        ),
        EffectKind(
            "directory", "compute", "the instance's directory on its host", "remove the directory",
            ("guest", "domain", "disk"),
        ),
        EffectKind(
            "port", "network", "a port with its own MAC", "delete the port",
            ("guest", "vif", "binding"),
        ),
        EffectKind(
            "binding", "network", "a port bound to a host", "unbind the port",
            ("guest", "vif"),
        ),
        EffectKind(
            "volume", "volume", "a volume made for this build", "delete the volume",
            ("reservation", "attachment", "attached", "connection"),
        ),
        EffectKind(
            "reservation", "volume", "a volume reserved for the instance", "unreserve the volume",
            ("guest", "connection"),
        ),
        EffectKind(
            "attachment", "volume", "a volume exported to the host", "terminate the connection",
            ("guest", "connection"),
        ),
        EffectKind(
            "attached", "volume", "a volume marked in-use", "detach the volume",
            ("guest", "connection"),
        ),
        EffectKind(
            "connection", "compute", "a volume open on the host as a device", "disconnect the host",
            ("guest",),
        ),
        EffectKind(
            "disk", "compute", "the root disk made from the image", "delete the disk",
            ("guest",),
        ),
        EffectKind(
            "secret", "compute", "a secret that QEMU reads while it starts", "delete the secret"
        ),
        EffectKind("vif", "compute", "a port plugged on the host", "unplug the VIF", ("guest",)),
        EffectKind("domain", "compute", "a domain, defined", "undefine the domain", ("guest",)),
        EffectKind("guest", "compute", "a running QEMU", "destroy the domain"),
    )
}  # fmt: skip
