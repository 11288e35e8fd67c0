"""A thousand builds, twenty at once, every tenth call failing, the process killed five times."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from buildflow.api import VmEngine
from buildflow.config import Settings
from buildflow.drivers.simulated import SimulatedWorld, drivers_of
from buildflow.engine.core import ENDED
from buildflow.engine.store import Store
from tests.crash.flaky import Dice, flaky
from tests.crash.forks import KILLED, in_child

BUILDS = 1000
AT_ONCE = 20
FAILING = 0.1
KILLS = 5
SEED = 7
HOSTS = ("h1", "h2", "h3")


def _life(home: Path, number: int, die_after: int | None) -> dict[str, Any]:
    """One process: resume what is left, ask for what was not asked for yet, and perhaps die."""
    store = Store(f"sqlite:///{home / 'buildflow.sqlite'}")
    world = SimulatedWorld(home / "world.jsonl")
    dice = Dice(FAILING, f"{SEED} {number}")
    settings = Settings(
        home=home, max_concurrent_builds=AT_ONCE, undo_timeout_s=3.0, boot_grace_s=0.0
    )
    commits = 0

    def on_commit(when: str, _unit: object) -> None:
        nonlocal commits
        commits += 1
        if commits == die_after:
            os.kill(os.getpid(), signal.SIGKILL)

    store.journal.on_commit = on_commit
    with VmEngine(settings, flaky(drivers_of(world, *HOSTS), dice), store=store) as engine:
        handles = engine.resume()
        for n in range(BUILDS):
            volumes = [{"size": 1}] if n % 2 else []
            handles.append(
                engine.build(
                    name=f"vm{n}", image="cirros", volumes=volumes, request_id=f"storm {n}"
                )
            )
        for handle in handles:
            handle.wait()
    store.close()
    return {"calls": dice.calls, "failures": dice.failures}


@pytest.mark.slow
def test_storm(memory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    rng = random.Random(SEED)
    Store(f"sqlite:///{memory / 'buildflow.sqlite'}").close()
    SimulatedWorld(memory / "world.jsonl").close()
    deaths = 0
    for number in range(KILLS):
        die_after = rng.randint(3 * BUILDS, 12 * BUILDS)
        deaths += in_child(lambda n=number, d=die_after: _life(memory, n, d)) == KILLED  # type: ignore[misc]
    last = in_child(lambda: _life(memory, KILLS, None))
    seconds = time.monotonic() - began
    assert deaths == KILLS

    store = Store(f"sqlite:///{memory / 'buildflow.sqlite'}")
    world = SimulatedWorld(memory / "world.jsonl")
    rows = store.list(limit=None)
    assert len(rows) == BUILDS
    ends = Counter(row["status"] for row in rows)
    assert set(ends) <= set(ENDED), ends
    assert ends["complete"], "every tenth call fails, and some builds get through all the same"
    assert ends["rolled_back"]

    # nothing is there that is neither a complete build's nor listed as residue
    status = {row["id"]: row["status"] for row in rows}
    wanted = {
        effect["key"]
        for effect in store.all_effects(["done", "residue"])
        if status[effect["build"]] == "complete" or effect["state"] == "residue"
    }
    assert not store.all_effects(["intent"])
    kinds = Counter(e["kind"] for e in store.all_effects(["residue"]))
    snapshot = world.snapshot()
    keys = _keys(snapshot)
    assert keys
    assert keys <= wanted, f"{len(keys - wanted)} things that nobody lists"
    running = {uuid for host in snapshot["hosts"].values() for uuid in host.get("domains", {})}
    complete = {build for build, how in status.items() if how == "complete"}
    assert complete <= running
    assert running - complete <= {
        e["build"] for e in store.all_effects(["residue"]) if e["kind"] in ("domain", "guest")
    }
    assert world.violations == []
    with capsys.disabled():
        print(
            f"\nstorm: {BUILDS} builds, {deaths} deaths, {dict(ends)}, residue {dict(kinds)},"
            f" last life {json.dumps(last)}, {seconds:.0f} s"
        )
    store.close()


def _keys(part: Any) -> set[str]:
    """Every `key` in a snapshot."""
    if isinstance(part, dict):
        found = set().union(*(_keys(each) for each in part.values())) if part else set()
        return found | ({part["key"]} if isinstance(part.get("key"), str) else set())
    return (
        set().union(*(_keys(each) for each in part)) if isinstance(part, list) and part else set()
    )
