"""ZooKeeper, without TaskFlow's watch, and neither empty nor silent while its server is away.

The watch would list all jobs again after each change of one and compare each with each: 10,000 of
them take seconds. Without a connection TaskFlow says that there are no jobs, and all would be
posted again; and kazoo keeps what it is asked until there is one, however long that takes.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

from kazoo.client import KazooClient
from kazoo.exceptions import ConnectionLoss
from kazoo.protocol import paths
from kazoo.retry import KazooRetry
from kazoo.security import make_digest_acl
from taskflow.exceptions import JobFailure
from taskflow.jobs.backends.impl_zookeeper import ZookeeperJobBoard

from buildflow.distributed.board_url import ANSWER_S

# stands for the watch, which TaskFlow makes where it has none
_NO_WATCH: Final = object()
# how many jobs are asked for at a time
_AT_ONCE: Final = 1000


class PromptClient(KazooClient):  # type: ignore[misc]
    """Fails at once what can't be sent now, and does not send it later either."""

    def _call(self, request: Any, answer: Any) -> Any:
        if answer is None:  # the end of the session
            return super()._call(request, answer)
        if not self.connected:
            answer.set_exception(ConnectionLoss())
            return False
        sent = super()._call(request, answer)
        # the connection was lost in between: what waits then was told so before this came
        if not self.connected:
            with suppress(ValueError):
                self._queue.remove((request, answer))
                answer.set_exception(ConnectionLoss())
        return sent


class ZookeeperBoard(ZookeeperJobBoard):  # type: ignore[misc]
    """See the module."""

    def connect(self, timeout: float = ANSWER_S) -> None:
        """As TaskFlow's, without a watch."""
        self._job_watcher = _NO_WATCH
        super().connect(timeout)

    def _fetch_jobs(self, ensure_fresh: bool = False) -> Any:
        if self._last_states and self._last_states[0] in self.NO_FETCH_STATES:
            raise JobFailure("no connection") from ConnectionLoss()
        return super()._fetch_jobs(ensure_fresh)

    def _on_job_posting(self, children: Iterable[str], delayed: bool = True) -> None:
        """What a reading has found; called by nobody else."""
        there = {paths.join(self.path, child) for child in children if self._is_job(child)}
        with self._job_cond:
            for path in self._known_jobs.keys() - there:
                del self._known_jobs[path]
            fresh = sorted(there - self._known_jobs.keys())
        for start in range(0, len(fresh), _AT_ONCE):
            asked = [(path, self._client.get_async(path)) for path in fresh[start:][:_AT_ONCE]]
            for path, request in asked:
                self._process_child(path, request, quiet=False)

    def _is_job(self, child: str) -> bool:
        return child.startswith(self.JOB_PREFIX) and not child.endswith(self.LOCK_POSTFIX)

    def greet(self) -> None:
        """Ask something small, for which one must be let in."""
        self._client.get(self.path)

    def count_jobs(self) -> int:
        """How many jobs are on the board; only their names travel."""
        return sum(map(self._is_job, self._client.get_children(self.path)))

    def release(self) -> None:
        """Let go of the server, and of every claim."""
        self.close()
        self._client.stop()
        self._client.close()


def make(conf: dict[str, Any], expiry_s: float) -> ZookeeperBoard:
    """A board that is not connected yet.

    ZooKeeper's own expiry is its session's: the shorter, the sooner others may take over.
    """
    options: dict[str, Any] = {}
    if "digest" in conf:
        user, password = conf["digest"]
        options["auth_data"] = [("digest", f"{user}:{password}")]
        options["default_acl"] = [make_digest_acl(user, password, all=True)]
    client = PromptClient(
        hosts=conf["hosts"],
        timeout=expiry_s,
        connection_retry=KazooRetry(max_tries=-1, max_delay=1.0),
        command_retry=KazooRetry(max_tries=3, max_delay=1.0),
        **options,
    )
    # whoever is notified of jobs costs a thread, and a second at the end
    return ZookeeperBoard("buildflow", conf, client=client, emit_notifications=False)
