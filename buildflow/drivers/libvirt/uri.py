"""What a libvirt URI says about the hypervisor behind it. Data only; opens nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import unquote, urlsplit

from buildflow.errors import BadInput
from buildflow.redact import without_credentials


class Kind(StrEnum):
    """How the hypervisor is reached, which decides what it can do."""

    EMBED = "embed"  # the QEMU driver in our own process: no daemon, networks, secrets or storage
    SESSION = "session"  # a daemon of the user's own: user-mode networks only
    SYSTEM = "system"  # the host's daemon
    # a daemon on another host: guests there boot from volumes; no file is shared, nor a console
    REMOTE = "remote"
    TEST = "test"  # libvirt's mock driver: starts nothing, for unit tests only


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed URI. `root` is the embedded driver's directory, None for the other kinds."""

    uri: str
    kind: Kind
    root: Path | None = None

    @property
    def local(self) -> bool:
        """Whether the paths that we write are the paths that QEMU opens."""
        return self.kind is not Kind.REMOTE

    @property
    def privileged(self) -> bool:
        """Whether QEMU runs under a user of its own, chosen by a privileged libvirt."""
        if self.kind is Kind.EMBED:
            return os.geteuid() == 0
        return self.kind in (Kind.SYSTEM, Kind.REMOTE)

    @property
    def has_daemon(self) -> bool:
        """Whether another process answers our calls, which may end when it likes."""
        return self.kind in (Kind.SESSION, Kind.SYSTEM, Kind.REMOTE)

    @property
    def has_networks(self) -> bool:
        """Whether the libvirt network API answers."""
        return self.kind in (Kind.SYSTEM, Kind.REMOTE, Kind.TEST)

    @property
    def has_secrets(self) -> bool:
        """Whether the libvirt secret API answers (in embedded mode it kills the process)."""
        return self.kind in (Kind.SESSION, Kind.SYSTEM, Kind.REMOTE)


def refuse_password(uri: str) -> None:
    """Refuse a hypervisor's URI with a password: libvirt would take it for part of the name."""
    if ":" in urlsplit(uri).netloc.rpartition("@")[0]:
        raise BadInput(
            f"{without_credentials(uri)}: libvirt reads no password in a URI; leave it out, and put"
            " it into libvirt's auth.conf"
        )


def parse(uri: str) -> Target:
    """The target that `uri` names. Raises BadInput for what is no QEMU or test URI."""
    parts = urlsplit(uri)
    driver, _, transport = parts.scheme.partition("+")
    if driver == "test":
        return Target(uri, Kind.TEST)
    if driver != "qemu":
        raise BadInput(
            f"libvirt URI {uri!r} is not served: use qemu:///embed?root=DIR, qemu:///session,"
            " qemu:///system or qemu+ssh://HOST/system"
        )
    path = parts.path.strip("/")
    if path == "embed":
        # as libvirt reads it: `%` escapes count, `+` is itself
        root = unquote(dict(p.partition("=")[::2] for p in parts.query.split("&")).get("root", ""))
        if not root.startswith("/"):
            raise BadInput(
                f"libvirt URI {uri!r} needs an absolute directory: qemu:///embed?root=DIR"
            )
        return Target(uri, Kind.EMBED, Path(root))
    if path not in ("session", "system"):
        raise BadInput(f"libvirt URI {uri!r} must end in embed, session or system")
    if parts.netloc or transport not in ("", "unix"):
        return Target(uri, Kind.REMOTE)
    return Target(uri, Kind.SESSION if path == "session" else Kind.SYSTEM)
