"""What the hypervisor reports of a machine that nobody works on: one commit, fenced like any other.

Whoever claims the build meanwhile raises its epoch, and the report is refused: it was about a
machine that is no longer at rest.
"""

from __future__ import annotations

from buildflow.engine.clock import Clock, stamp
from buildflow.engine.journal import Unit
from buildflow.engine.store import Row, Store
from buildflow.errors import StaleOwner, StateConflict
from buildflow.states import InstanceStates, apply, power


def record_power(store: Store, clock: Clock, row: Row, value: int) -> bool:
    """Move the power state of the ended build `row` to `value`, with its line in the history.

    Returns False when the build has changed since `row` was read. Raises StoreError.
    """
    trigger = power.report_trigger(value)
    states = apply(
        InstanceStates(row["vm_state"], row["task_state"], row["power_state"]), [trigger]
    )
    moved = {
        "vm_state": states.vm_state,
        "task_state": states.task_state,
        "power_state": states.power_state,
    }
    unit = Unit(row["id"], row["epoch"], row["seq"] + 1)
    unit.instance = {
        "b_id": row["id"], "b_version": row["version"], "version": row["version"] + 1, **moved,
    }  # fmt: skip
    line = {
        "build": row["id"], "at": stamp(clock.now()), "trigger": trigger, "step": None, **moved,
    }  # fmt: skip
    unit.many = [(store.statements.history, [line])]
    try:
        store.journal.commit(unit)
    except (StaleOwner, StateConflict):
        return False
    return True
