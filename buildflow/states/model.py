"""What a state table is made of. Rules: data only, no IO, no import from outside `states`.

Everything that affects a transition lives in the tables built from these classes (`vm`, `task`,
`power`, `joint`): the engine looks moves up in them, the diagrams draw them, the tests walk them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

V = TypeVar("V", str, int, str | None)


class Kind(StrEnum):
    """What an edge is for; diagrams draw each kind in its own way."""

    FORWARD = "forward"  # the build goes on
    COMPENSATING = "compensating"  # a rollback walks back
    FAILING = "failing"  # the build gives up
    DELETING = "deleting"  # a delete request wins
    REPORTED = "reported"  # the hypervisor said so


class Stability(StrEnum):
    """What may be expected of a machine that is found in a state."""

    STABLE = "stable"  # may stay here for ever
    TRANSIENT = "transient"  # some step is at work; after a crash `resume` goes on
    TERMINAL = "terminal"  # nothing leads out
    STUCK = "stuck"  # stable, but only a delete leads on


@dataclass(frozen=True, slots=True)
class State(Generic[V]):
    """One state: its value as stored, how stable it is, and why it exists."""

    value: V
    stability: Stability
    why: str


@dataclass(frozen=True, slots=True)
class Row(Generic[V]):
    """One transition. `undo` names the trigger that walks it back, which is declared here only.

    `undo_why` says why there is none; exactly one of the two is given.
    """

    trigger: str
    source: V
    dest: V
    kind: Kind
    why: str
    undo: str | None = None
    undo_why: str = ""

    def __post_init__(self) -> None:
        if (self.undo is None) == (not self.undo_why):
            raise ValueError(
                f"row {self.trigger}: give `undo`, or `undo_why` for a move that has none"
            )


@dataclass(frozen=True, slots=True)
class Table(Generic[V]):
    """A whole machine: `attribute` is the column and the model attribute that it drives."""

    name: str
    attribute: str
    initial: V
    states: tuple[State[V], ...]
    rows: tuple[Row[V], ...]
    why: str
    _by_trigger: dict[tuple[str, V], Row[V]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        values = [s.value for s in self.states]
        if len(set(values)) != len(values):
            raise ValueError(f"{self.name}: a state is declared twice")
        index: dict[tuple[str, V], Row[V]] = {}
        for row in self.all_rows():
            for end in (row.source, row.dest):
                if end not in values:
                    raise ValueError(f"{self.name}: row {row.trigger} names unknown state {end!r}")
            if index.setdefault((row.trigger, row.source), row) is not row:
                raise ValueError(f"{self.name}: {row.trigger} from {row.source!r} is ambiguous")
        object.__setattr__(self, "_by_trigger", index)

    def all_rows(self) -> tuple[Row[V], ...]:
        """The declared rows, and for each `undo` the compensating row that it stands for."""
        backward = tuple(
            Row(
                trigger=row.undo,
                source=row.dest,
                dest=row.source,
                kind=Kind.COMPENSATING,
                why=f"walks {row.trigger} back",
                undo_why="a compensation is final: going forward again is a new attempt",
            )
            for row in self.rows
            if row.undo is not None
        )
        return self.rows + backward

    def find(self, trigger: str, source: V) -> Row[V] | None:
        """The row for `trigger` in state `source`, or None when that is not legal."""
        return self._by_trigger.get((trigger, source))

    def triggers(self) -> frozenset[str]:
        """Every trigger of this machine, compensating ones included."""
        return frozenset(trigger for trigger, _ in self._by_trigger)

    def state(self, value: V) -> State[V]:
        """The state declared for `value`; KeyError when there is none."""
        for state in self.states:
            if state.value == value:
                return state
        raise KeyError(value)
