"""Whether what a build has made can be undone from here, asked before anything of it is touched.

Another cloud, another hypervisor, another home, or credentials that may not detach: an undo would
find nothing and call that gone, or take the guest away and leave its volume. So it is refused as a
whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from buildflow.drivers.world import World
from buildflow.errors import OutOfReach
from buildflow.flows.effects import KINDS, Service
from buildflow.flows.origin import elsewhere


def require_place(world: World, effects: Iterable[dict[str, Any]]) -> set[Service]:
    """Raise OutOfReach, with the cure, when one of these effects is elsewhere; else the services
    that have made them. None of them is asked for anything.
    """
    services: set[Service] = set()
    for effect in effects:
        kind = KINDS.get(effect["kind"])
        if kind is None:
            continue  # of a flow that is not ours
        reason = elsewhere(world, kind, effect["facts"])
        if reason is not None:
            raise OutOfReach(f"{kind.what} is not within reach: {reason}")
        services.add(kind.service)
    return services


def require_reach(world: World, effects: Iterable[dict[str, Any]]) -> None:
    """Raise HostUnusable, with the cure, when one of these effects cannot be undone from here:
    it is elsewhere, or its service cannot be used.
    """
    services = require_place(world, effects)
    if "volume" in services:
        world.volume.check()
    if "network" in services:
        world.network.check()
