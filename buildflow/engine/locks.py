"""Locks by key, first come first served: two builds never work on one volume at once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class KeyedLocks:
    """A lock for each key that is in use; keys that nobody holds or awaits cost nothing."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._waiting: dict[str, deque[threading.Event]] = {}

    @contextmanager
    def hold(self, key: str) -> Iterator[None]:
        """Hold `key`; those who ask while it is held get it in the order in which they asked."""
        mine = threading.Event()
        with self._mutex:
            queue = self._waiting.setdefault(key, deque())
            queue.append(mine)
            if len(queue) == 1:
                mine.set()
        mine.wait()
        try:
            yield
        finally:
            with self._mutex:
                queue.popleft()
                if queue:
                    queue[0].set()
                else:
                    del self._waiting[key]
