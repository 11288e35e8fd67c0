"""Room on the host of this attempt, where hosts are shared (nova/compute/claims.py)."""

from __future__ import annotations

from typing import Any, ClassVar

from buildflow.drivers.protocols import CapacityDriver, Demand, Json
from buildflow.errors import HostUnusable
from buildflow.flows.steps import EffectStep


class ClaimHost(EffectStep):
    """Takes what the machine needs; made first, so that it is given back last."""

    kind: ClassVar[str] = "claim"

    def __init__(self, name: str, demand: Json, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self.demand = demand

    def facts(self, host: str) -> Json:
        """How much, and where."""
        return {"host": host, "build": self.run.id, "demand": self.demand}

    def without_effect(self, facts: Json) -> Json | None:
        """A host that no conductor shares with other processes needs no claim."""
        capacity = self.world.capacity
        shared = capacity is not None and capacity.shares(facts["host"])
        return None if shared else {"claimed": False}

    def find(self, key: str, facts: Json) -> Json | None:
        """By its key."""
        found = self._capacity().find(key)
        return None if found is None else {"claimed": True}

    def create(self, key: str, facts: Json) -> Json:
        """Take it."""
        demand = Demand(**facts["demand"])
        self._capacity().claim(key, facts["build"], facts["host"], demand, self.run.epoch)
        return {"claimed": True}

    def delete(self, key: str, facts: Json) -> None:
        """Give it back."""
        self._capacity().release(key)

    def _capacity(self) -> CapacityDriver:
        capacity = self.world.capacity
        if capacity is None:
            raise HostUnusable("this process does not share hosts; a conductor does")
        return capacity
