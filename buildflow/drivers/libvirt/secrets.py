"""Passwords that QEMU must read: a libvirt secret, or a file where libvirt has no secret API.

They exist from just before a domain starts until just after. Neither is ever persistent for longer
than its effect, and neither shows in a process list, in a domain's XML or in a log.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

import libvirt
from lxml import etree

from buildflow.drivers.libvirt.connection import Connection
from buildflow.drivers.libvirt.elements import add
from buildflow.drivers.libvirt.qemu_user import QemuUser
from buildflow.drivers.protocols import Thing
from buildflow.errors import DriverError

_USAGE: Final = "buildflow-"


class Secrets(Protocol):
    """Both kinds. `files` is the directory of secret files, None where libvirt has them."""

    files: str | None

    def find(self, key: str) -> bool:
        """Whether the secret is there."""

    def create(self, key: str, username: str, password: str) -> None:
        """Make it."""

    def delete(self, key: str) -> None:
        """Remove it; one that is not there is fine."""

    def inventory(self) -> Iterator[Thing]:
        """All secrets of ours."""


def secret_store(connection: Connection, directory: Path, user: QemuUser | None) -> Secrets:
    """Where this hypervisor keeps secrets."""
    if connection.target.has_secrets:
        return LibvirtSecrets(connection)
    return SecretFiles(directory, user)


class LibvirtSecrets:
    """Ephemeral and private libvirt secrets; the key is the secret's uuid."""

    files: str | None = None

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, key: str) -> bool:
        """Whether the secret is there."""
        with self._connection.calling("look a secret up") as conn:
            return self._lookup(conn, key) is not None

    def create(self, key: str, username: str, password: str) -> None:
        """Define it and set its value; the daemon keeps it in memory only."""
        secret = etree.Element("secret", attrib={"ephemeral": "yes", "private": "yes"})
        add(secret, "uuid", key)
        add(secret, "description", "a volume's password, for as long as its guest starts")
        usage = add(secret, "usage", type="iscsi")
        add(usage, "target", _USAGE + key)
        with self._connection.calling("hand over a secret") as conn:
            conn.secretDefineXML(etree.tostring(secret, encoding="unicode")).setValue(
                password.encode()
            )

    def delete(self, key: str) -> None:
        """Undefine it; one that is not there is fine."""
        with self._connection.calling("remove a secret") as conn:
            found = self._lookup(conn, key)
            if found is not None:
                found.undefine()

    def inventory(self) -> Iterator[Thing]:
        """All secrets of ours, by their usage."""
        with self._connection.calling("list the secrets") as conn:
            for found in conn.listAllSecrets():
                if (found.usageID() or "").startswith(_USAGE):
                    yield Thing("secret", found.UUIDString(), key=found.UUIDString())

    @staticmethod
    def _lookup(conn: libvirt.virConnect, key: str) -> libvirt.virSecret | None:
        try:
            return conn.secretLookupByUUIDString(key)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_SECRET:
                return None
            raise


class SecretFiles:
    """A file a secret, readable by QEMU's user alone; the key is the file's name."""

    def __init__(self, directory: Path, user: QemuUser | None) -> None:
        self._directory = directory
        self._user = user
        self.files: str | None = str(directory)

    def find(self, key: str) -> bool:
        """Whether the secret is there, whole."""
        return (self._directory / key).is_file()

    def create(self, key: str, username: str, password: str) -> None:
        """Write it: mode 0600, owned by QEMU's user; whole or not there."""
        part = self._directory / f".{key}.part"
        try:
            self._directory.mkdir(
                mode=0o700 if self._user is None else 0o711, parents=True, exist_ok=True
            )
            part.unlink(missing_ok=True)
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                # QEMU's default format of a secret file is raw: the bytes as they are
                file.write(password.encode())
                if self._user is not None:
                    os.fchown(descriptor, self._user.uid, self._user.gid)
            part.rename(self._directory / key)
        except OSError as error:
            raise DriverError(
                f"cannot write a secret: {error.strerror}", driver="compute", code=error.errno
            ) from error

    def delete(self, key: str) -> None:
        """Remove it and what a kill left of it."""
        for name in (key, f".{key}.part"):
            (self._directory / name).unlink(missing_ok=True)

    def inventory(self) -> Iterator[Thing]:
        """All secret files, half-written ones included."""
        if self._directory.is_dir():
            for path in sorted(self._directory.iterdir()):
                key = path.name.removeprefix(".").removesuffix(".part")
                yield Thing("secret", key, key=key)
