"""Redis. The client asks again once, at once: who keeps claims must soon know that it can't."""

from __future__ import annotations

from typing import Any

from redis.backoff import NoBackoff
from redis.retry import Retry
from taskflow.jobs.backends.impl_redis import RedisJobBoard


class RedisBoard(RedisJobBoard):  # type: ignore[misc]
    """See the module."""

    @classmethod
    def _make_client(cls, conf: Any) -> Any:
        client = super()._make_client(conf)
        # left alone it would wait for seconds between its tries
        client.set_retry(Retry(NoBackoff(), 1))
        return client

    def greet(self) -> None:
        """Ask something small."""
        self._client.ping()

    def count_jobs(self) -> int:
        """How many jobs are on the board."""
        return int(self.job_count)

    def release(self) -> None:
        """Let go of the server."""
        self.close()


def make(conf: dict[str, Any], _expiry_s: float) -> RedisBoard:
    """A board that is not connected yet."""
    return RedisBoard("buildflow", conf)
