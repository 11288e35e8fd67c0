"""The kinds of effect that a build makes, and what must be gone before each may be undone.

The table is the rule of rollback (nova/compute/manager.py: _shutdown_instance, and where it fails):
a volume is never unmapped in Cinder while its host may still have it open, a network is never
released and no disk deleted under a guest that could not be stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class EffectKind:
    """One kind: what it is, how it is undone, and the kinds that must be gone before that."""

    name: str
    what: str
    undo: str
    undo_after: tuple[str, ...] = ()


KINDS: Final[dict[str, EffectKind]] = {
    kind.name: kind
    for kind in (
        EffectKind(
            "claim", "room claimed on a host", "release the claim", ("guest", "domain", "directory")
        ),
        EffectKind(
            "directory", "the instance's directory on its host", "remove the directory",
            ("guest", "domain", "disk"),
        ),
        EffectKind(
            "port", "a port with its own MAC", "delete the port", ("guest", "vif", "binding")
        ),
        EffectKind("binding", "a port bound to a host", "unbind the port", ("guest", "vif")),
        EffectKind(
            "volume", "a volume made for this build", "delete the volume",
            ("reservation", "attachment", "attached", "connection"),
        ),
        EffectKind(
            "reservation", "a volume reserved for the instance", "unreserve the volume",
            ("guest", "connection"),
        ),
        EffectKind(
            "attachment", "a volume exported to the host", "terminate the connection",
            ("guest", "connection"),
        ),
        EffectKind(
            "attached", "a volume marked in-use", "detach the volume", ("guest", "connection")
        ),
        EffectKind(
            "connection", "a volume open on the host as a device", "disconnect the host", ("guest",)
        ),
        EffectKind("disk", "the root disk made from the image", "delete the disk", ("guest",)),
        EffectKind("secret", "a secret that QEMU reads while it starts", "delete the secret"),
        EffectKind("vif", "a port plugged on the host", "unplug the VIF", ("guest",)),
        EffectKind("domain", "a domain, defined", "undefine the domain", ("guest",)),
        EffectKind("guest", "a running QEMU", "destroy the domain"),
    )
}  # fmt: skip
