"""Drivers seen through the injector: each of their calls is a point before and a point after.

Made only when a plan is armed, from whatever methods the driver has, so that a call which is added
to a protocol is a fault point without another word.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from buildflow.drivers.world import World

if TYPE_CHECKING:
    from buildflow.faults.injector import Injector

# calls that touch nothing outside, or that only an oracle makes
_NO_POINT = frozenset({"check", "close", "inventory", "hosts", "to_xml", "place", "folder"})


class Seen:
    """Base of every proxy: what it stands for, what it is called, and who is told."""

    def __init__(self, target: Any, driver: str, injector: Injector) -> None:
        self._target, self._driver, self._injector = target, driver, injector

    @property
    def name(self) -> Any:
        """The driver's own name."""
        return getattr(self._target, "name", self._driver)


def proxied(target: Any, driver: str, injector: Injector) -> Any:
    """`target` with a point before and after each of its public methods."""
    kind: Any = type(target)
    return _proxy_of(kind)(target, driver, injector)


@functools.cache
def _proxy_of(kind: Any) -> type[Seen]:
    members: dict[str, Any] = {}
    for name, method in inspect.getmembers(kind, callable):
        if not name.startswith("_") and not isinstance(method, type):
            members[name] = _plain(name) if name in _NO_POINT else _pointed(name)
    return type(f"Armed{kind.__name__}", (Seen,), members)


def _plain(name: str) -> Callable[..., Any]:
    def call(self: Seen, *args: Any, **kwargs: Any) -> Any:
        return getattr(self._target, name)(*args, **kwargs)

    return call


def _pointed(name: str) -> Callable[..., Any]:
    def call(self: Seen, *args: Any, **kwargs: Any) -> Any:
        self._injector.before_call(self._driver, name)
        result = getattr(self._target, name)(*args, **kwargs)
        self._injector.after_call(self._driver, name)
        return result

    return call


class ArmedWorld(World):
    """A World of proxied drivers over those of another."""

    def __init__(self, world: World, injector: Injector) -> None:
        seen: dict[int, Any] = {}
        computes = {}
        for host, compute in world.computes.items():
            if id(compute) not in seen:
                seen[id(compute)] = proxied(compute, "compute", injector)
            computes[host] = seen[id(compute)]
        self._armed = {
            name: proxied(getattr(world, name), name, injector)
            for name in ("network", "volume", "image")
        }
        super().__init__(computes=computes, **self._armed)

    def _service(self, name: str) -> Any:
        return self._armed[name]
