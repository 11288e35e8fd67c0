"""etcd, without the thread by which TaskFlow watches it.

That thread hears of every job that anybody posts, holds up the end of its process while the server
is away, and dies when it is restarted. Nobody here waits for it: boards are read.
"""

from __future__ import annotations

from typing import Any, Final

from etcd3gw import Etcd3Client
from taskflow.jobs.backends.impl_etcd import EtcdJobBoard

_OF_THE_CLIENT: Final = ("host", "port", "protocol", "timeout", "api_path")


class EtcdBoard(EtcdJobBoard):  # type: ignore[misc]
    """See the module. Given a client, TaskFlow's board makes neither one nor the thread."""

    def greet(self) -> None:
        """Ask something small."""
        self._client.get(self._create_path(self._root_path, "greeting"))

    def count_jobs(self) -> int:
        """How many jobs are on the board; only their keys travel."""
        first = self._create_path(self._root_path, self.JOB_PREFIX)
        behind = first[:-1] + chr(ord(first[-1]) + 1)
        found = self._client.get(first, metadata=True, range_end=behind, keys_only=True)
        ending = self.DATA_POSTFIX.encode()
        return sum(record["key"].endswith(ending) for _, record in found)

    def release(self) -> None:
        """Let go of the server."""
        self._client.session.close()


def make(conf: dict[str, Any], _expiry_s: float) -> EtcdBoard:
    """A board; its client connects with each question."""
    client = Etcd3Client(**{name: conf[name] for name in _OF_THE_CLIENT})
    return EtcdBoard("buildflow", conf, client=client)
