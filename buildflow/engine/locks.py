"""Locks by key, first come first served: two builds never work on one volume at once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# how often one that waits looks up
LOOK_S = 0.1


class KeyedLocks:
    """A lock for each key that is in use; keys that nobody holds or awaits cost nothing."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._waiting: dict[str, deque[threading.Event]] = {}

    @contextmanager
    def hold(self, key: str, look: Callable[[], None] | None = None) -> Iterator[None]:
        """Hold `key`; those who ask while it is held get it in the order in which they asked.

        `look` is called often while it waits, and gives the place in the queue up by raising.
        """
        mine = threading.Event()
        with self._mutex:
            queue = self._waiting.setdefault(key, deque())
            queue.append(mine)
            if len(queue) == 1:
                mine.set()
        try:
            while not mine.wait(LOOK_S):
                if look is not None:
                    look()
            yield
        finally:
            with self._mutex:
                was_first = queue[0] is mine
                queue.remove(mine)
                if not queue:
                    del self._waiting[key]
                elif was_first:
                    queue[0].set()
