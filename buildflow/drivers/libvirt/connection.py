"""One libvirt connection, opened when first needed, opened again when it was lost.

Facts about embedded mode that shape this file: one process may hold a root at a time, and holds it
until it exits (closing the connection does not let go); one process can hold one root only, ever;
and each opening registers the driver once more, until libvirt has no room for it. So this process
opens its root once, everyone shares that connection, and nobody closes it.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import libvirt

from buildflow.drivers.libvirt import embedded_root, kvm_rights, orphans
from buildflow.drivers.libvirt.error_table import translate
from buildflow.drivers.libvirt.qemu_user import qemu_user
from buildflow.drivers.libvirt.turn import take_turn
from buildflow.drivers.libvirt.uri import Kind, Target
from buildflow.errors import BuildflowError, HostUnusable

_OTHER_ROOT: Final = "already open with path"
# a daemon that is silent for so long (interval, count) is dead: calls return instead of hanging
_KEEPALIVE_S: Final = 5
_KEEPALIVE_COUNT: Final = 3
# and one that takes a connection and then says nothing is given up after so long
OPEN_S: Final = 30.0

Say = Callable[[str], None]

_embedded_lock = threading.Lock()
_embedded: dict[Path, Any] = {}


class Connection:
    """A shared, thread-safe way to a hypervisor.

    `home` keeps what is found out about this host. `wait_s` is how long to wait for another process
    to let go of an embedded root; `say` is told once, in one line, that we wait and for whom.
    """

    def __init__(
        self, target: Target, home: Path, *, wait_s: float = 0.0, say: Say | None = None
    ) -> None:
        self.target = target
        self._home = home
        self._wait_s = wait_s
        self._say: Say = say or (lambda _message: None)
        self._lock = threading.Lock()
        self._connection: Any = None

    @property
    def place(self) -> str:
        """Whose domains these are: the embedded driver's root, or the URI without credentials."""
        if self.target.root is not None:
            return f"the hypervisor in {self.target.root.resolve()}"
        parts = urlsplit(self.target.uri)
        netloc = parts.netloc.rpartition("@")[2]
        return f"the hypervisor at {urlunsplit(parts._replace(netloc=netloc))}"

    def open(self) -> Any:
        """A `virConnect` that answers. Raises HypervisorBusy or HostUnusable."""
        connection = self._connection
        if connection is not None and self._answers(connection):
            return connection
        with self._lock:
            # another thread may have replaced it meanwhile
            if self._connection is None or not self._answers(self._connection):
                self._forget()
                self._connection = self._open()
            return self._connection

    @contextmanager
    def calling(self, action: str, driver: str = "compute") -> Iterator[Any]:
        """The connection for one action ("start the domain"); libvirt's errors become ours."""
        connection = self.open()
        try:
            yield connection
        except libvirt.libvirtError as error:
            raise translate(error, action, driver) from error

    def close(self) -> None:
        """Close the connection. An embedded root stays open, and held, until this process exits."""
        with self._lock:
            self._forget()

    def _answers(self, connection: Any) -> bool:
        # libvirt sees that a daemon is gone only when the next call fails, whose answer would then
        # be lost for want of a connection. So a call that changes nothing goes first (70 us).
        try:
            if not connection.isAlive():
                return False
            if self.target.has_daemon:
                connection.getLibVersion()
        except libvirt.libvirtError:
            return False
        return True

    def _forget(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and self.target.kind is not Kind.EMBED:
            with contextlib.suppress(libvirt.libvirtError):  # lost already: nothing to close
                connection.close()

    def _open(self) -> Any:
        if self.target.kind is Kind.EMBED:
            assert self.target.root is not None
            with _embedded_lock:
                if self.target.root not in _embedded:
                    _embedded[self.target.root] = self._open_embedded(self.target.root)
                return _embedded[self.target.root]
        try:
            connection = _open_within(self.target.uri, OPEN_S)
            if self.target.kind is not Kind.TEST:
                connection.setKeepAlive(_KEEPALIVE_S, _KEEPALIVE_COUNT)
        except libvirt.libvirtError as error:
            raise HostUnusable(
                f"cannot reach the hypervisor at {self.target.uri}: {error.get_error_message()}"
            ) from error
        return connection

    def _open_embedded(self, root: Path) -> Any:
        uri = embedded_root.prepare(root)
        if kvm_rights.hidden_from(qemu_user(self.target)):
            self._say(f"{kvm_rights.KVM} has rights that cost half a minute a define:"
                      f" {kvm_rights.cure()}")  # fmt: skip
        orphans.adopt_if_needed(self._home)
        turn = take_turn(root, self._wait_s, self._say)
        try:
            return libvirt.open(uri)
        except libvirt.libvirtError as error:
            os.close(turn)
            raise self._unusable(error, error.get_error_message() or "") from error

    def _unusable(self, error: Any, text: str) -> BuildflowError:
        if _OTHER_ROOT in text:
            return HostUnusable(
                f"this process already runs an embedded hypervisor elsewhere and can run only one:"
                f" {text}"
            )
        return HostUnusable(f"the embedded hypervisor at {self.target.root} does not start: {text}")


def _open_within(uri: str, seconds: float) -> Any:
    """`libvirt.open`, which itself waits for ever. Raises HostUnusable at the deadline; the thread
    that waits is then left to wait.
    """
    opened: Future[Any] = Future()

    def open_it() -> None:
        try:
            opened.set_result(libvirt.open(uri))
        except libvirt.libvirtError as error:
            opened.set_exception(error)

    threading.Thread(target=open_it, name="libvirt-open", daemon=True).start()
    try:
        return opened.result(seconds)
    except TimeoutError:
        raise HostUnusable(
            f"the hypervisor at {uri} takes connections and does not answer: restart its libvirtd"
        ) from None
