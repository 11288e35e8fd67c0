"""Random plans of three and more faults, beyond what is explored whole: the same for each seed."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Final

from buildflow.faults.explore import Exploration, Progress, play_at_random
from buildflow.faults.oracle import Reference
from buildflow.faults.play import Scenario
from buildflow.faults.scene import Scene

# a plan has 3 to so many faults
FAULTS_MAX: Final = 6
_CHUNK: Final = 25
# the scene of this process and of those that are forked from it
_scenes: list[tuple[Scene, Reference, int, frozenset[str] | None]] = []


def add_random(
    result: Exploration,
    scene: Scene,
    *,
    seed: int,
    count: int,
    workers: int,
    only: frozenset[str] | None = None,
    tell: Callable[[Progress], None] | None = None,
) -> None:
    """Play `count` random plans, the first from `seed`, and put what they show into `result`."""
    started = time.monotonic()
    _scenes.append((scene, result.reference, max(len(result.points), 1), only))
    done = 0
    end = seed + count
    chunks = [(first, min(_CHUNK, end - first)) for first in range(seed, end, _CHUNK)]
    context = multiprocessing.get_context("fork")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_alone)
    try:
        for scenarios in pool.map(_play, chunks):
            done += len(scenarios)
            for scenario in scenarios:
                result.outcomes[scenario.outcome.value] += 1
                if scenario.violations:
                    result.failing.append(scenario)
            result.randoms += len(scenarios)
            result.executed += len(scenarios)
            if tell is not None:
                seconds = time.monotonic() - started
                tell(Progress(done, count - done, done, len(result.failing), seconds))
    finally:
        pool.shutdown(cancel_futures=True)
        _scenes.pop()
    result.seconds += time.monotonic() - started


def _play(chunk: tuple[int, int]) -> list[Scenario]:
    scene, reference, points, only = _scenes[-1]
    first, count = chunk
    return list(
        play_at_random(scene, reference, first, count, faults=FAULTS_MAX, points=points, only=only)
    )


def _alone() -> None:
    """A signal is for the process that the user sees; it ends these."""
    import signal

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)
