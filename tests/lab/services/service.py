"""What every service of the tests can do: start, stop, be killed, and be there again."""

import os
import shutil
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab.ports import free_port
from tests.lab.process import Server


class Service(ABC):
    """One server on a loopback port of its own, all its files in one directory.

    What was stored survives `stop`, `kill9` and the next `start`, on the same port. It needs no
    root; started as root it runs as its Debian user, `user`, where that exists.
    """

    user: str | None = None

    def __init__(self, directory: Path) -> None:
        """Plan the server; its directory must be one that its user can enter."""
        self.directory = directory.resolve()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.data = self.directory / "data"
        self.port = free_port()
        self._runs_as = self.user if os.geteuid() == 0 else None
        self._server: Server | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """What a client needs to find it."""

    @property
    def alive(self) -> bool:
        """Whether the server runs."""
        return self._server is not None and self._server.alive

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._process().pid

    @property
    def log(self) -> str:
        """All that the server wrote."""
        return self._process().log.read_text(errors="replace")

    def start(self, timeout: float = 60) -> None:
        """Start the server and wait until it serves."""
        if self._server is None:
            self._make_data()
        server = self._process()
        server.start()
        server.wait_until(self._serves, timeout)

    def stop(self) -> None:
        """End the server in good order; nothing if it is not running."""
        if self._server is not None:
            self._server.stop()

    def kill9(self) -> None:
        """Kill the server where it stands."""
        self._process().kill9()

    def restart(self) -> None:
        """Stop, if it runs, and start again."""
        self.stop()
        self.start()

    @abstractmethod
    def _command(self) -> list[str]:
        """What to run."""

    @abstractmethod
    def _serves(self) -> bool:
        """Whether it answers a client."""

    def _make_data(self) -> None:
        """Prepare the data directory before the first start."""
        self.data.mkdir(mode=0o700, exist_ok=True)
        if self._runs_as is not None:
            shutil.chown(self.directory, self._runs_as)
            shutil.chown(self.data, self._runs_as)

    def _process(self) -> Server:
        if self._server is None:
            name = type(self).__name__
            log = self.directory / "server.log"
            self._server = Server(name, self._command(), log, user=self._runs_as)
        return self._server

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()
