"""Small flows, machines and builds that the tests of the diagrams draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from taskflow import retry, task
from taskflow.patterns import graph_flow, linear_flow, unordered_flow

from buildflow.states import Kind, Row, Stability, State, Table


class Plain(task.Task):
    """A plain TaskFlow task that says what it needs and gives."""

    def __init__(
        self, name: str, needs: Sequence[str] = (), gives: str | tuple[str, ...] | None = None
    ) -> None:
        super().__init__(name, provides=gives, requires=list(needs), auto_extract=False)

    def execute(self, **_: Any) -> None:
        """Nothing: these flows are only drawn."""


class Undoable(Plain):
    """One with an undo."""

    def revert(self, **_: Any) -> None:
        """Take it back."""


def small_flow() -> Any:
    """Two ports in any order inside a retry, between a first and a last step."""
    ports = unordered_flow.Flow("ports")
    ports.add(*(Undoable(f"port:{n}", gives=f"vif_{n}") for n in (10, 2, 1)))
    attempt = linear_flow.Flow("attempt", retry=retry.Times(2, name="twice"))
    attempt.add(ports, Undoable("disk", needs=["vif_1"], gives="path"))
    return linear_flow.Flow("whole").add(Plain("first"), attempt, Plain("last", needs=["path"]))


def diamond() -> Any:
    """A graph: a, then b and c in parallel, then d."""
    return graph_flow.Flow("diamond").add(
        Undoable("a", gives="x"),
        Undoable("b", needs=["x"], gives="y"),
        Undoable("c", needs=["x"], gives="z"),
        Undoable("d", needs=["y", "z"]),
    )


def broken_flow() -> Any:
    """Two steps of one name, which TaskFlow compiles only to refuse: it can't be drawn."""
    same = Plain("same")
    return linear_flow.Flow("broken").add(linear_flow.Flow("in").add(same), same)


def long_flow(steps: int = 300) -> Any:
    """Many steps, each with an undo, in flows of ten."""
    whole = linear_flow.Flow("long")
    for start in range(0, steps, 10):
        inner = linear_flow.Flow(f"part {start}")
        for number in range(start, start + 10):
            needs = [f"r{number - 1}"] if number else []
            inner.add(Undoable(f"step:{number}", needs=needs, gives=f"r{number}"))
        whole.add(inner)
    return whole


def door() -> Table[str]:
    """A machine of a user's own."""
    return Table(
        name="door",
        attribute="door_state",
        initial="shut",
        why="a door",
        states=(
            State("shut", Stability.STABLE, "nobody gets in"),
            State("open", Stability.TRANSIENT, "it falls shut by itself"),
            State("gone", Stability.TERMINAL, "off its hinges"),
        ),
        rows=(
            Row("push", "shut", "open", Kind.FORWARD, "a hand", undo="pull"),
            Row("burn", "open", "gone", Kind.FAILING, "a fire", undo_why="ash"),
        ),
    )


def big_machine(states: int = 1000) -> Table[str]:
    """A ring of many states."""
    names = [f"s{n}" for n in range(states)]
    return Table(
        name="ring",
        attribute="ring_state",
        initial=names[0],
        why="many states",
        states=tuple(State(name, Stability.STABLE, "one of many") for name in names),
        rows=tuple(
            Row(f"go_{n}", name, names[(n + 1) % states], Kind.FORWARD, "on", undo=f"back_{n}")
            for n, name in enumerate(names)
        ),
    )
