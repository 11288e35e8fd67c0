"""Named points of a run, and the plan that fails at some of them.

A point is written `STEP:WHERE`, such as `wait_for_boot:execute`. STEP is a step's name as a slug;
a flow's name stands for the first step in it. WHERE is a moment of the step protocol:

    execute   before anything is done        revert   before the undo of a step
    made      the effect is there, but not   undo     before one effect is removed
              recorded yet                   undone   it is removed, but not recorded yet
    recorded  the result is staged           reverted all of the step's undo is staged
    wait      each time the step waits

A plan is armed by a flag or by an API call only: nothing here reads the environment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from taskflow import flow as tf_flow

from buildflow.errors import BadInput, DriverError

if TYPE_CHECKING:
    from buildflow.engine.run import Run

# the moments of the step protocol at which engine/run.py calls `points`
MOMENTS: Final = (
    "execute", "made", "recorded", "revert", "undo", "undone", "reverted", "wait",
)  # fmt: skip
_MOMENTS_WITHOUT_EFFECT: Final = ("execute", "recorded", "revert", "reverted", "wait")


class InjectedFault(DriverError):
    """A failure that was asked for. `point` says where."""

    def __init__(self, point: str) -> None:
        self.point = point
        super().__init__(f"injected failure at {point}")


def slug(name: str) -> str:
    """A step's or a flow's name as a point spells it: `self.driver.spawn` is `driver_spawn`."""
    text = name.rpartition("=")[2].strip().removeprefix("self.").lstrip("_").lower()
    return re.sub(r"[^a-z0-9]+", "_", text).strip("_")


@dataclass(frozen=True, slots=True)
class Point:
    """One moment of one step, by the step's own name."""

    step: str
    where: str

    def __str__(self) -> str:
        return f"{slug(self.step)}:{self.where}"


def points_of(flow: Any) -> list[Point]:
    """Every point that `flow` has, in the order of its steps."""
    return [Point(atom.name, where) for atom in _steps(flow) for where in _moments(atom)]


def parse_point(text: str, flow: Any) -> Point:
    """The point of `flow` that `text` names; without a moment it is `execute`.

    Raises BadInput, with what there is to choose from.
    """
    name, colon, where = text.partition(":")
    moment = where if colon else "execute"
    named = _named(flow)
    atom = named.get(slug(name)) if name else None
    if atom is None:
        raise BadInput(f"no step is called {name!r} here; there are {', '.join(named)}")
    possible = _moments(atom)
    if moment not in possible:
        raise BadInput(
            f"{slug(name)} has no point {moment!r}; it has"
            f" {', '.join(f'{slug(name)}:{each}' for each in possible)}"
        )
    return Point(atom.name, moment)


class FailAt:
    """A plan: raises InjectedFault at each of `points`, the first time that it is passed."""

    def __init__(self, points: Iterable[Point]) -> None:
        self.waiting = list(points)

    def __call__(self, where: str, subject: str, run: Run) -> None:
        """See engine/run.py: Points."""
        for point in self.waiting:
            if where == point.where and subject == point.step:
                self.waiting.remove(point)
                raise InjectedFault(str(point))


def _steps(flow: Any) -> Iterator[Any]:
    if not isinstance(flow, tf_flow.Flow):
        if not hasattr(flow, "on_failure"):  # a retry makes nothing that could fail
            yield flow
        return
    for node, _ in flow.iter_nodes():
        yield from _steps(node)


def _named(flow: Any) -> dict[str, Any]:
    """By slug: each step and, for a flow, its first step. Of two alike the outer one has it."""
    named: dict[str, Any] = {}

    def add(node: Any) -> None:
        first = next(_steps(node), None)
        if first is not None:
            named.setdefault(slug(node.name), first)
        if isinstance(node, tf_flow.Flow):
            for inner, _ in node.iter_nodes():
                add(inner)

    add(flow)
    return named


def _moments(atom: Any) -> tuple[str, ...]:
    return MOMENTS if getattr(atom, "kind", None) is not None else _MOMENTS_WITHOUT_EFFECT
