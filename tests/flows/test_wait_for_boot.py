"""What a guest that stands still while it boots is taken for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from buildflow.api import VmEngine
from buildflow.config import Settings
from buildflow.drivers.simulated import SimulatedWorld, drivers_of
from buildflow.engine.clock import VirtualClock


@pytest.mark.parametrize(("dies", "told"), [(True, "crashed"), (False, "was paused")])
def test_a_guest_that_stands_still(tmp_path: Path, dies: bool, told: str) -> None:
    """QEMU stops a guest that panics, and tells why a moment later."""
    clock = VirtualClock()
    world = SimulatedWorld(clock=clock)
    happens = [world.pause_guest, *([world.crash_guest] if dies else [])]

    def points(where: str, subject: str, run: Any) -> None:
        if (where, subject) == ("wait", "Wait for boot") and happens:
            assert happens.pop(0)(run.id)

    settings = Settings(home=tmp_path, boot_grace_s=5.0)
    drivers = drivers_of(world, "h1")
    with VmEngine(settings, drivers, clock=clock, points=points) as engine:
        shown = engine.build(name="a", image="cirros").wait()
    assert shown["status"] == "rolled_back"
    assert shown["fault"]["message"].startswith(f"the guest {told} while it booted")
    assert not happens
