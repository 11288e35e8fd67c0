"""A scene for a flow of your own, made of buildflow steps, in a world of your own.

The world is any object: every public method of it is a fault point, before and after. What exists
in it is told by `inventory`; unless given, that is the world's own method of this name, the world
itself when it is a dictionary, or else its public attributes.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from buildflow.config import Settings
from buildflow.engine.definitions import FlowFactory
from buildflow.faults.engine_scene import EngineScene
from buildflow.faults.injector import Injector
from buildflow.faults.kinds import ANY_WORLD
from buildflow.faults.proxies import proxied
from buildflow.faults.scene import Inventory


def things_in(world: Any) -> Inventory:
    """What exists in a world that says nothing of itself but what it holds: an entry each."""
    told = getattr(world, "inventory", None)
    if callable(told):
        return copy.deepcopy(dict(told()))
    held = world if isinstance(world, Mapping) else vars(world)
    things: Inventory = {}
    for name, value in held.items():
        if str(name).startswith("_") or callable(value):
            continue
        if isinstance(value, Mapping):
            things.update({f"{name}/{key}": copy.deepcopy(each) for key, each in value.items()})
        elif isinstance(value, (list, tuple, set, frozenset)):
            things.update({f"{name}/{each}": n for each, n in Counter(map(str, value)).items()})
        else:
            things[str(name)] = copy.deepcopy(value)
    return things


class OwnFlowScene(EngineScene):
    """See the module. `world` makes a world anew, as it is before a run."""

    def __init__(
        self,
        factory: FlowFactory,
        world: Callable[[], Any] = dict,
        *,
        inputs: Mapping[str, Any] | None = None,
        inventory: Callable[[Any], Inventory] = things_in,
        name: str = "own",
        settings: Settings | None = None,
    ) -> None:
        super().__init__(factory, dict(inputs or {}), settings)
        self.name, self._world_factory, self._inventory = name, world, inventory

    def make_world(self) -> Any:
        """See EngineScene."""
        return self._world_factory()

    def armed_world(self, injector: Injector) -> Any:
        """See EngineScene. A plain dictionary or list has no calls that could fail."""
        if type(self.world).__module__ == "builtins":
            return self.world
        return proxied(self.world, ANY_WORLD, injector)

    def inventory(self) -> Inventory:
        """See Scene."""
        return self._inventory(self.world)

    def present(self) -> dict[str, str]:
        """See Scene: what each step's own `find` finds, without faults between."""
        found = {}
        definition = self.definitions.lend("", {})
        bystander = _Bystander(self.world, self.build_id)
        for effect in self.store.effects(self.build_id):
            step = definition.steps[effect["step"]]
            step.run = bystander  # type: ignore[assignment]
            if step.find(effect["key"], effect["facts"]) is not None:
                found[effect["key"]] = effect["kind"]
        return found


class _Bystander:
    """What a step's `find` may ask of a run when there is none."""

    def __init__(self, world: Any, build: str) -> None:
        self.world, self.id = world, build
