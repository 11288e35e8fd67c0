"""A delete request at any moment wins: whenever it lands, the instance does not come back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from buildflow.api import VmEngine
from buildflow.config import Settings
from buildflow.drivers.simulated import SimulatedWorld, drivers_of
from buildflow.engine.clock import VirtualClock
from buildflow.engine.store import Store
from buildflow.errors import DriverError
from buildflow.states import joint


class Race:
    """One build over two hosts, the first of which may fail, and a request at the n-th instant."""

    def __init__(self, home: Path) -> None:
        self.store = Store(f"sqlite:///{home / 'buildflow.sqlite'}", synchronous="OFF")
        self.home = home

    def run(self, at: int | None, reason: str, reschedules: bool) -> tuple[Any, Any, int]:
        world = SimulatedWorld(clock=VirtualClock())
        empty = world.snapshot()
        instants = 0
        build = ""

        def land() -> None:
            nonlocal instants
            instants += 1
            if instants == at:
                self.store.request_stop(build, reason)

        def points(where: str, subject: str, run: Any) -> None:
            if where in ("made", "undo"):
                land()
            if reschedules and (where, subject, run.host) == ("made", "start", "h1"):
                raise DriverError("h1 is not well")

        def on_commit(_when: str, unit: Any) -> None:
            if unit.build == build and unit.free is None:
                land()

        settings = Settings(home=self.home, undo_timeout_s=1.0)
        engine = VmEngine(
            settings, drivers_of(world, "h1", "h2"), store=self.store, clock=VirtualClock(),
            points=points, parallel=False, watch_s=None,
        )  # fmt: skip
        row = engine.accept_build(_request(at, reason))
        build = row["id"]
        self.store.journal.on_commit = on_commit
        shown = engine.start(row).wait()
        self.store.journal.on_commit = None
        if reason == "deleted" and at is not None:
            shown = engine.delete(build).wait()
        engine.close()
        assert world.violations == []
        assert (world.snapshot() == empty) == (shown["status"] == "rolled_back"), shown["status"]
        assert joint.find(shown["vm_state"], shown["task_state"], shown["power_state"])
        return shown, world, instants


def _request(at: int | None, reason: str) -> Any:
    from buildflow.flows.request import parse_request

    return parse_request(name=f"vm-{at}-{reason}", image="cirros", volumes=[{"size": 1}])


@pytest.mark.parametrize("reschedules", [False, True])
@pytest.mark.parametrize("reason", ["deleted", "cancelled"])
def test_a_request_at_every_instant(tmp_path: Path, reason: str, reschedules: bool) -> None:
    race = Race(tmp_path)
    shown, _, count = race.run(None, reason, reschedules)
    assert shown["status"] == "complete"
    assert shown["host"] == ("h2" if reschedules else "h1")
    ends = []
    for at in range(1, count + 1, 1 if not reschedules else 3):
        shown, _, _ = race.run(at, reason, reschedules)
        ends.append((shown["status"], shown["vm_state"]))
    if reason == "deleted":
        assert set(ends) == {("rolled_back", "deleted")}
    else:
        # right after the last commit it comes too late, and only then
        assert set(ends[:-1]) == {("rolled_back", "error")}
        assert ends[-1] in (("rolled_back", "error"), ("complete", "active"))
    race.store.close()
