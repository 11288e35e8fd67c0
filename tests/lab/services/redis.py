"""A Redis server of the tests' own."""

import socket
from pathlib import Path

from tests.lab.services.service import Service


class Redis(Service):
    """A server that keeps what it has acknowledged, by its append-only file."""

    user = "redis"

    def __init__(self, directory: Path, fsync: bool = False) -> None:
        """With `fsync` each write is on the disk before it is acknowledged."""
        super().__init__(directory)
        self._fsync = fsync

    @property
    def url(self) -> str:
        """redis://HOST:PORT"""
        return f"redis://127.0.0.1:{self.port}"

    def _command(self) -> list[str]:
        return [
            "redis-server",
            *("--bind", "127.0.0.1", "--port", str(self.port)),
            *("--dir", str(self.data), "--save", ""),
            *("--appendonly", "yes", "--appendfsync", "always" if self._fsync else "no"),
        ]

    def _serves(self) -> bool:
        with socket.socket() as client:
            client.settimeout(2)
            if client.connect_ex(("127.0.0.1", self.port)):
                return False
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith(b"+PONG")  # not "-LOADING ..."
