"""The one place that builds `transitions` machines from the tables, and applies moves with them.

A move is a tuple of triggers, at most one per machine, that happens as a whole: each trigger must
be legal in its own machine, and the triple that results must be legal in the joint table. The
machines are shared and never hold a model, so that a build costs them no memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from transitions import Machine, MachineError

from buildflow.errors import DefinitionError, InvalidTransition
from buildflow.states import joint, power, task, vm
from buildflow.states.model import Row, Table

TABLES: Final[dict[str, Table[Any]]] = {"vm": vm.TABLE, "task": task.TABLE, "power": power.TABLE}


@dataclass(frozen=True, slots=True)
class InstanceStates:
    """The three states of one instance, as stored."""

    vm_state: str = vm.TABLE.initial
    task_state: str | None = task.TABLE.initial
    power_state: int = power.TABLE.initial

    @property
    def triple(self) -> joint.Triple:
        """(vm, task, power), the joint table's key."""
        return (self.vm_state, self.task_state, self.power_state)


class _Model:
    """What the machines move: one label per machine, for `transitions` wants strings."""

    __slots__ = ("power_state", "task_state", "vm_state")


def label(value: object) -> str:
    """A state's value as the string that `transitions` and the diagrams use."""
    return power.NAMES[value] if isinstance(value, int) else "none" if value is None else str(value)


def build_machine(table: Table[Any]) -> Machine:
    """A flat `transitions.Machine` for `table`, with no model and no automatic triggers."""
    machine = Machine(
        model=None,
        states=[label(s.value) for s in table.states],
        initial=label(table.initial),
        auto_transitions=False,
        send_event=False,
        model_attribute=table.attribute,
    )
    for row in table.all_rows():
        machine.add_transition(row.trigger, label(row.source), label(row.dest))
    return machine


def _owners() -> dict[str, str]:
    owners: dict[str, str] = {}
    for name, table in TABLES.items():
        for trigger in table.triggers():
            # transitions would move only the first of two machines that share a trigger's name
            if owners.setdefault(trigger, name) != name:
                raise DefinitionError(f"trigger {trigger} is declared by two machines")
    return owners


_MACHINES: Final[dict[str, Machine]] = {name: build_machine(t) for name, t in TABLES.items()}
OWNER_OF: Final[dict[str, str]] = _owners()
_VALUES: Final[dict[str, dict[str, Any]]] = {
    name: {label(s.value): s.value for s in table.states} for name, table in TABLES.items()
}


def row_for(trigger: str, states: InstanceStates) -> Row[Any]:
    """The table row that `trigger` would take now. Raises InvalidTransition when there is none."""
    owner = OWNER_OF.get(trigger)
    if owner is None:
        raise DefinitionError(f"no machine has a trigger named {trigger}")
    table = TABLES[owner]
    value = getattr(states, table.attribute)
    row = table.find(trigger, value)
    if row is None:
        raise InvalidTransition(owner, trigger, value)
    return row


def apply(states: InstanceStates, triggers: Iterable[str]) -> InstanceStates:
    """The states after the move `triggers`; `states` itself is never changed.

    Raises InvalidTransition when a trigger is not legal now or the resulting triple is not in the
    joint table, and DefinitionError for a trigger that no machine has.
    """
    model = _Model()
    result = states
    for trigger in triggers:
        row = row_for(trigger, result)
        owner = OWNER_OF[trigger]
        machine, attribute = _MACHINES[owner], TABLES[owner].attribute
        setattr(model, attribute, label(getattr(result, attribute)))
        try:
            machine.events[trigger].trigger(model)
        except MachineError as error:
            raise InvalidTransition(owner, trigger, row.source) from error
        result = replace(result, **{attribute: _VALUES[owner][getattr(model, attribute)]})
    if joint.find(*result.triple) is None:
        raise InvalidTransition("joint", "+".join(triggers), result.triple)
    return result
