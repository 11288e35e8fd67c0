"""What a run holds in memory, as a value: two runs that hold the same do the same next.

This is the one place that looks inside of the engine's Run. What is committed is the records'
(records.py); here is what is staged on top of that, and what was never to be stored. Time is
counted from where a deadline is: a run that began later is no other run.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any


def memory_of(run: Any, settled: bool, now: float) -> Hashable:
    """See the module. `settled`: the run only goes back from here; what is undone is no more."""
    hand = run.at_hand
    return (
        run.status, run.going_back, run.rescheduling, run.removing, run.stop, run.stored_stop,
        tuple(hand.scheduled), tuple(each.told() for each in hand.ended),
        run.attempt, run.host, run._stuck, run.fault is None, run.states,
        None if settled else frozenset(run._resumed),
        # what a process that has lost the build would take back
        tuple(run.made),
        # what is staged, and would be lost with the process
        frozenset((e["step"], e["attempt"], e["state"]) for e in run._dirty_effects.values()),
        frozenset((d.name, d.state, d.intention, _failed(d)) for d in run._dirty_atoms.values()),
        run._dirty_flow is None, run._dirty_build, run._dirty_info, run._moved,
        len(run._new_history), round(now - run._fenced_at, 3),
    )  # fmt: skip


def _failed(detail: Any) -> tuple[str, ...] | None:
    """The classes of a failure, which decide whether another host is tried."""
    return tuple(detail.failure) if detail.state == "FAILURE" and detail.failure else None
