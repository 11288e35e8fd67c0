"""A cancel in the middle of any step of a build: soon it is over, and the host is clean.

The clock is the machine's own. A driver call is in flight when the request arrives, as another
process makes it: in the store. What the host may take longer than that call is 2 s.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from buildflow.api import VmEngine
from buildflow.config import Settings
from buildflow.drivers.simulated import SimulatedWorld, drivers_of
from buildflow.engine.fingerprint import atoms_of
from buildflow.engine.step import Step
from buildflow.engine.store import Store
from buildflow.flows.build import build_flow

pytestmark = pytest.mark.slow

IN_FLIGHT_S = 0.05
AT_MOST_S = 2.0
REQUEST: dict[str, Any] = {"image": "cirros", "networks": [{}, {}], "volumes": [{"size": 1}]}


@pytest.mark.parametrize("reason", ["cancelled", "deleted"])
def test_soon_and_clean(tmp_path: Path, reason: str) -> None:
    moment: tuple[str, str] | None = None
    passed: dict[tuple[str, str], None] = {}
    requested = 0.0

    def points(where: str, subject: str, run: Any) -> None:
        nonlocal requested
        passed[subject, where] = None
        if (subject, where) == moment:
            requested = time.monotonic()
            other.request_stop(run.id, reason)
            time.sleep(IN_FLIGHT_S)

    other = Store(f"sqlite:///{tmp_path / 'buildflow.sqlite'}")
    world = SimulatedWorld()
    empty = world.snapshot()
    slow = {}
    with VmEngine(Settings(home=tmp_path), drivers_of(world, "h1"), points=points) as engine:
        assert engine.build(name="whole", **REQUEST).wait(60)["status"] == "complete"
        moments = [(step, where) for step, where in passed if where in ("execute", "made")]
        engine.delete("whole").wait(60)
        flow = build_flow(name="whole", hosts=["h1"], **REQUEST)
        steps = {atom.name for atom in atoms_of(flow) if isinstance(atom, Step)}
        assert {step for step, _ in moments} >= steps
        for moment in moments:
            requested = 0.0
            shown = engine.build(name="cancelled", **REQUEST).wait(60)
            ended = time.monotonic()
            assert requested, f"{moment} was not passed"
            assert shown["status"] == "rolled_back", (moment, shown["status"])
            assert shown["stop"] == reason, moment
            assert shown["vm_state"] == ("deleted" if reason == "deleted" else "error"), moment
            assert shown["residue"] == [], moment
            assert world.snapshot() == empty, moment
            if ended - requested - IN_FLIGHT_S > AT_MOST_S:
                slow[moment] = ended - requested
    other.close()
    assert world.violations == []
    assert not slow
