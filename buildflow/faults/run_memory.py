"""What a run holds in memory, as a value: two runs that hold the same do the same next.

This is the one place that looks inside of the engine's Run. Time is counted from where a deadline
is: a run that began later is no other run.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from buildflow.faults.records import canonical_effects


def memory_of(run: Any, settled: bool, now: float) -> Hashable:
    """See the module. `settled`: the run only goes back from here; what is undone is no more."""
    return (
        run.status, run.going_back, run.rescheduling, run.removing, run.stop, run.stored_stop,
        run.attempt, run.host, run._stuck, run.fault is None, run.states,
        canonical_effects(
            ((e["step"], e["attempt"], e["state"]) for e in run.effects.values()), settled
        ),
        frozenset(
            each for each in run._atom_states.items()
            if not (settled and each[1] in ("REVERTED", "PENDING"))
        ),
        # a resumed step that has ended is a step like any other
        frozenset(
            name for name in run._resumed
            if not settled and run._atom_states.get(name) != "SUCCESS"
        ),
        # what is staged, and would be lost with the process
        frozenset(run._dirty_atoms), frozenset(run._dirty_effects), run._dirty_flow is None,
        run._dirty_build, run._dirty_info, run._moved, len(run._new_history),
        round(now - run._fenced_at, 3),
    )  # fmt: skip
