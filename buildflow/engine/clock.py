"""Time as a value that is handed in, so that exploration needs none of it.

Rules: nothing else in the engine, the flows or the faults kit reads a clock or sleeps.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol


class Clock(Protocol):
    """What the engine asks of time."""

    def now(self) -> datetime:
        """The date and time, aware, in UTC."""

    def monotonic(self) -> float:
        """Seconds that never go back, for deadlines."""

    def sleep(self, seconds: float, wake: threading.Event | None = None) -> None:
        """Let `seconds` pass, or less when `wake` is set."""


_SINCE_BOOT: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """See Clock."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """See Clock. It goes on while the machine is suspended, where the system has such a one."""
        return time.clock_gettime(_SINCE_BOOT)

    def sleep(self, seconds: float, wake: threading.Event | None = None) -> None:
        """See Clock."""
        if wake is not None:
            wake.wait(seconds)
        else:
            time.sleep(seconds)


class VirtualClock:
    """A clock on which a sleep is a sum: time passes only when somebody waits.

    Starts at a fixed instant, so that explored scenarios are the same on every run.
    """

    def __init__(self, start: datetime = datetime(2030, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._elapsed = 0.0
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """See Clock."""
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        """See Clock."""
        return self._elapsed

    def sleep(self, seconds: float, wake: threading.Event | None = None) -> None:
        """Move the clock on by `seconds`; returns at once."""
        with self._lock:
            self._elapsed += max(seconds, 0.0)


def stamp(moment: datetime) -> str:
    """A moment as it is stored and printed: ISO 8601, UTC, microseconds."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
