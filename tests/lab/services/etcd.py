"""An etcd server of the tests' own."""

import json
import urllib.request
from pathlib import Path

from tests.lab.ports import free_port
from tests.lab.services.service import Service


class Etcd(Service):
    """A cluster of one, serving gRPC and its JSON gateway on one port."""

    user = "etcd"

    def __init__(self, directory: Path) -> None:
        """Plan it, with a second port that its peers would use."""
        super().__init__(directory)
        self._peer_port = free_port()

    @property
    def url(self) -> str:
        """etcd3+http://HOST:PORT"""
        return f"etcd3+http://127.0.0.1:{self.port}"

    def _command(self) -> list[str]:
        client, peer = (f"http://127.0.0.1:{port}" for port in (self.port, self._peer_port))
        return [
            "etcd",
            *("--name", "test", "--data-dir", str(self.data), "--logger", "zap"),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", f"test={peer}"),
            # A cluster of one waits for nobody: elect quickly.
            *("--heartbeat-interval", "50", "--election-timeout", "250"),
        ]

    def _serves(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=2) as page:
                return bool(json.load(page)["health"] == "true")
        except OSError:
            return False
