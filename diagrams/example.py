"""The build that the manual's pictures show: one whose guest dies, in a simulated world.

It is carried out by the real engine on a clock that only waits move, so that its history is the
same on every machine and on every day; nothing in the pictures is made up.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from buildflow.api import VmEngine
from buildflow.config import Settings
from buildflow.drivers.simulated import POWERS_OFF, SimulatedWorld, WorldOptions, factory
from buildflow.drivers.world import World
from buildflow.engine.clock import VirtualClock

_BEGAN: Final = datetime(2030, 1, 1, 10, tzinfo=UTC)
_OPTIONS: Final = WorldOptions(boot_seconds=4.0, guest=POWERS_OFF, latency_s=0.2)
_ID: Final = "00000000-0000-4000-8000-000000000001"


def example_build(
    options: WorldOptions = _OPTIONS, *, delete: bool = False, points: Any = None, **request: Any
) -> dict[str, Any]:
    """The dict of a build that has ended; by default one that failed at `Wait for boot`.

    `options` say how the world behaves; with `delete` the instance is deleted afterwards; `points`
    is a plan of failures (engine/points.py).
    """
    clock = VirtualClock(_BEGAN)
    outside = SimulatedWorld(None, clock=clock, options=options)
    with tempfile.TemporaryDirectory(prefix="buildflow-example-") as home:
        settings = Settings(home=Path(home), extra={"world": outside, "clock": clock})
        world = World(
            factory.computes(settings),
            factory.network(settings),
            factory.volume(settings),
            factory.image(settings),
        )
        asked = {"name": "web-1", "image": "cirros", "wait": "console:login:", **request}
        plain: dict[str, Any] = {"clock": clock, "parallel": False, "watch_s": None}
        with VmEngine(settings, world, points=points, **plain) as engine:
            engine.build(**asked).wait(60.0)
            if delete:
                engine.delete(asked["name"]).wait(60.0)
            shown = engine.show(asked["name"] if not delete else engine.list()[0]["id"])
            history = engine.history(shown["id"])
    # its id is drawn by lot, and pictures must not change by it
    return {**shown, "history": history, "id": _ID}
