"""Drivers whose calls fail now and then: before they have acted, or after, with the answer lost."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

from buildflow.drivers.world import World
from buildflow.errors import DriverError

# what only looks at the driver itself, or decides before anything is made
SPARED = frozenset({"validate", "hosts", "virt_type", "to_xml", "connector"})


class Flaky:
    """A driver of which `share` of all calls fail, half of them after they have acted."""

    def __init__(self, driver: Any, dice: Dice) -> None:
        self._driver, self._dice = driver, dice
        self.name = driver.name

    def check(self) -> None:
        """Spared."""
        self._driver.check()

    def inventory(self) -> Any:
        """Spared: the oracle reads it."""
        return self._driver.inventory()

    def close(self) -> None:
        """Spared."""
        self._driver.close()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._driver, name)
        return found if name in SPARED else self._dice.load(name, found)


class Dice:
    """Throws for each call; seeded, and counted."""

    def __init__(self, share: float, seed: str) -> None:
        self._share, self._random = share, random.Random(seed)
        self._lock = threading.Lock()
        self.calls = self.failures = 0

    def load(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """`call`, which may fail."""

        def loaded(*args: Any, **kwargs: Any) -> Any:
            with self._lock:
                thrown = self._random.random()
                self.calls += 1
                self.failures += thrown < self._share
            if thrown < self._share / 2:
                raise DriverError(f"{name} was refused by chance")
            result = call(*args, **kwargs)
            if thrown < self._share:
                raise DriverError(f"the answer of {name} was lost", outcome_unknown=True)
            return result

        return loaded


def flaky(world: World, dice: Dice) -> World:
    """All drivers of `world`, flaky."""
    return World(
        computes={host: Flaky(driver, dice) for host, driver in world.computes.items()},
        network=Flaky(world.network, dice),
        volume=Flaky(world.volume, dice),
        image=Flaky(world.image, dice),
    )
