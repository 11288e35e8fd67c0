"""One change of a world: looked at, decided, staged, and then made as a whole or not at all."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from buildflow.drivers.protocols import Json

if TYPE_CHECKING:
    from buildflow.drivers.simulated.state import State
    from buildflow.drivers.simulated.world import SimulatedWorld

Put = tuple[str, str, Json | None]


class Change:
    """A context manager that holds the world; what it staged is made when it ends without an error.

    `state` is the world before the change. `name`, `key` and `id` go into the log of operations,
    unless nothing was staged or `name` is empty.
    """

    __slots__ = ("_world", "forgotten", "id", "key", "made", "name", "now", "puts", "violations")

    def __init__(self, world: SimulatedWorld, name: str, key: str | None, id: str | None) -> None:
        self._world = world
        self.name, self.key, self.id = name, key, id
        self.now = 0.0
        self.puts: list[Put] = []
        self.violations: list[str] = []
        self.made: list[str] = []
        self.forgotten: list[str] = []

    @property
    def state(self) -> State:
        """The world as it is before this change."""
        return self._world.state

    def put(self, table: str, id: str, record: Json | None) -> None:
        """Stage a record, or its removal."""
        self.puts.append((table, id, record))

    def make(self, kind: str, key: str | None) -> None:
        """Note that an effect with this key comes into being; each may do so once."""
        if key is None:
            return
        token = f"{kind}:{key}"
        if token in self._world.state.made:
            self.violate(f"{kind} {key} was created twice")
        self.made.append(token)

    def forget(self, kind: str, key: str | None) -> None:
        """Allow a key to be made again: what carried it was taken away by another hand."""
        if key is not None:
            self.forgotten.append(f"{kind}:{key}")

    def violate(self, text: str) -> None:
        """Note that something was done which must never be done."""
        self.violations.append(text)

    def __enter__(self) -> Change:
        self._world.hold(writing=True)
        self.now = self._world.now()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None and (self.puts or self.violations):
                self._world.commit(self)
        finally:
            self._world.let_go(writing=True)

    def to_list(self) -> list[Any]:
        """As it is written down."""
        return [
            self.name, self.key, self.id, self.now,
            self.puts, self.violations, self.made, self.forgotten,
        ]  # fmt: skip
