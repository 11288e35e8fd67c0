"""SIGINT, SIGTERM and SIGHUP while a verb is at work.

Before anything is made a signal simply ends the process. Once a build is accepted the first one
turns it round, and further ones are only answered: nothing is ever left half done. Once the verb is
over its end is known, and a signal changes neither what is said of it nor the exit code.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

ROLLING_BACK: Final = "interrupted: rolling back (this takes a moment; nothing is left behind)"
STILL_AT_IT: Final = (
    "still at it; if it has to be stopped all the same, `kill -9` it and let"
    " `buildflow resume` finish"
)
# how soon an interruption that Python has ignored is raised again
AGAIN_S: Final = 0.01
GOING_ON: Final = "interrupted: a removal can't be taken back; it goes on to its end"


class Interrupted(BaseException):
    """A signal came before anything was made. Not KeyboardInterrupt, which typer would swallow."""


class Interruption:
    """Catches the signals while it is entered. `happened` tells whether there was one.

    One within another is a verb's: when it is left, signals no longer matter to the outer one.
    `whole_process` is for the outermost of a process that has nothing more to do than to exit.
    """

    def __init__(self, say: Callable[[str], None], *, whole_process: bool = False) -> None:
        self.happened = False
        self._say = say
        self._whole_process = whole_process
        self._over = False
        self._stop: Callable[[], None] | None = None
        self._answer = ROLLING_BACK
        self._before: dict[int, Any] = {}
        self._told_before: Callable[[Any], Any] | None = None

    def __enter__(self) -> Interruption:
        if threading.current_thread() is not threading.main_thread():
            return self  # Python lets no other thread have a say in it
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, and shells' `&`
                self._before[number] = signal.signal(number, self._caught)
        self._told_before, sys.unraisablehook = sys.unraisablehook, self._ignored
        return self

    def __exit__(self, *exc: object) -> None:
        if self._told_before is not None:
            sys.unraisablehook = self._told_before
        if signal.SIGALRM in self._before:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            outer = getattr(handler, "__self__", None)
            if isinstance(outer, Interruption):
                outer._over = True
            to_the_end = self._over and self._whole_process
            signal.signal(number, signal.SIG_IGN if to_the_end else handler)

    @contextmanager
    def turning_round(self, stop: Callable[[], None], answer: str = ROLLING_BACK) -> Iterator[None]:
        """From here on a signal calls `stop`, which must return at once, instead of ending us;
        when it is left, what the verb had to do is done.
        """
        self._stop, self._answer = stop, answer
        try:
            yield
        finally:
            self._over = True
            self._stop = None

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """From here on a signal is only answered: what goes on is a removal."""
        with self.turning_round(lambda: None, GOING_ON):
            yield

    def _caught(self, _number: int, _frame: FrameType | None) -> None:
        if self._over:
            return
        again, self.happened = self.happened, True
        if self._stop is None:
            raise Interrupted
        self._stop()
        self._say(STILL_AT_IT if again else self._answer)

    def _ignored(self, unraisable: Any) -> None:
        """Python ignores what is raised in a callback, a weak reference's for one, and an import is
        full of them: it is raised again, from wherever this thread is then.
        """
        if unraisable.exc_type is not Interrupted:
            assert self._told_before is not None
            self._told_before(unraisable)
            return
        self.happened = False
        self._before.setdefault(signal.SIGALRM, signal.signal(signal.SIGALRM, self._caught))
        signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
