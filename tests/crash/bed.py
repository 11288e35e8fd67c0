"""Where builds are killed: a store and a simulated world in files, and an oracle over both.

Each case gets copies of a store that was migrated once and of a world that was filled once. What a
build must come to is what it came to when nobody killed it; ids are derived from the build's, which
is the same in every case, so that the worlds can be compared whole.
"""

from __future__ import annotations

import gc
import os
import shutil
import uuid
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from buildflow.api import VmEngine
from buildflow.config import Settings
from buildflow.drivers.simulated import SimulatedWorld, drivers_of
from buildflow.engine.clock import VirtualClock
from buildflow.engine.store import Store
from buildflow.flows.build import build_flow
from buildflow.states import joint
from tests.crash.forks import KILLED, Instants, in_child

BUILD = str(uuid.uuid5(uuid.NAMESPACE_URL, "a build that is killed"))
HOSTS = ("h1", "h2")

# called at every point with (where, step, run): fails by raising
Fault = Callable[[str, str, Any], None]
Row = dict[str, Any]


@dataclass
class Scenario:
    """What is built, what fails, and whether it is then deleted."""

    name: str
    inputs: Row
    fault: Fault | None = None
    delete: bool = False
    world: Row = field(default_factory=dict)
    parallel: bool = False

    def __str__(self) -> str:
        return self.name


class Bed:
    """One scenario's templates, and its judge."""

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self.scenario, self.folder = scenario, folder
        gc.freeze()  # what is there now is not walked, and so not copied, in each child
        folder.mkdir(parents=True, exist_ok=True)
        self.template = folder / "template"
        self.template.mkdir()
        Store(f"sqlite:///{self.template / 'buildflow.sqlite'}").close()
        world = SimulatedWorld(
            self.template / "world.jsonl", clock=VirtualClock(), options=scenario.world
        )
        self.volume = world.add_volume("given")
        world.close()
        self.inputs = {**scenario.inputs, "name": "killed", "hosts": list(HOSTS)}
        if "volumes" not in self.inputs:
            self.inputs["volumes"] = [{"id": self.volume}, {"size": 1}]
        self.empty = in_child(lambda: self._look(self.template))["world"]
        self.template_of_delete = folder / "built"
        if scenario.delete:
            shutil.copytree(self.template, self.template_of_delete)
            built = in_child(lambda: self._build(self.template_of_delete, Instants()))
            assert built["status"] == "complete", built
            self.built = in_child(lambda: self._look(self.template_of_delete))
        whole = self.copy("whole")
        self.instants: list[str] = in_child(lambda: self._first(whole, Instants())["instants"])
        self.expected = in_child(lambda: self.verdict(whole))
        shutil.rmtree(whole)

    # --- one case ------------------------------------------------------------------------------

    def judge(self, kills: tuple[int, ...]) -> str | None:
        """Kill at each of `kills` in turn, the later ones in resumes; what is wrong at the end."""
        home = self.copy("-".join(map(str, kills)))
        try:
            for index, kill_at in enumerate(kills):
                body = self._first if index == 0 else self._resume
                ended = in_child(partial(body, home, Instants(kill_at)))
                if ended != KILLED and index == 0:
                    return f"it was not killed at instant {kill_at}"
            return self.complaint(self.verdict(home))
        finally:
            shutil.rmtree(home)

    def complaint(self, found: Row) -> str | None:
        """What is wrong with a build after its resume."""
        if found["again"] != found["operations"]:
            return "a second resume did something"
        if found["violations"]:
            return f"violations: {found['violations']}"
        row = found["row"]
        if row is None:
            return None if found["world"] == self.empty else "there is something and no build"
        triple = row["vm_state"], row["task_state"], row["power_state"]
        if joint.find(*triple) is None:
            return f"illegal states {triple}"
        expected = self.expected
        if self.scenario.delete and row["status"] == "complete" and row["stop"] is None:
            expected = self.built  # killed before the delete was durable: nothing has happened
        for name in ("status", "vm_state", "task_state", "power_state"):
            if row[name] != expected["row"][name]:
                return f"{name} is {row[name]!r}, not {expected['row'][name]!r}: {row['fault']}"
        for name in ("left", "residue", "world"):
            if found[name] != expected[name]:
                return f"{name} is {found[name]}, not {expected[name]}"
        if row["status"] == "rolled_back" and found["world"] != self.empty:
            return "rolled back, and something is left"
        return None

    # --- what goes on in the children ---------------------------------------------------------

    def copy(self, name: str) -> Path:
        """A folder of its own for one case."""
        home = self.folder / f"{os.getpid()}-{name}"
        shutil.copytree(self.template_of_delete if self.scenario.delete else self.template, home)
        return home

    def verdict(self, home: Path) -> Row:
        """Resume, look, resume again, look again. Never in the process that was killed."""
        with self._engine(home, Instants()) as (engine, world):
            _resume_all(engine)
            found = _look(engine, world)
            _resume_all(engine)
            found["again"] = _look(engine, world)["operations"]
            return found

    def _first(self, home: Path, instants: Instants) -> Row:
        if self.scenario.delete:
            with self._engine(home, instants) as (engine, _):
                shown = engine.delete(BUILD).wait()
                return {"status": shown["status"], "instants": instants.passed}
        return self._build(home, instants)

    def _build(self, home: Path, instants: Instants) -> Row:
        with self._engine(home, instants) as (engine, _):
            row = engine.accept(
                build_flow, self.inputs, name="killed", build_id=BUILD, instance=True
            )
            shown = engine.start(row).wait()
            return {"status": shown["status"], "instants": instants.passed}

    def _resume(self, home: Path, instants: Instants) -> list[str]:
        with self._engine(home, instants) as (engine, _):
            _resume_all(engine)
        return instants.passed

    def _look(self, home: Path) -> Row:
        with self._engine(home, Instants()) as (engine, world):
            return _look(engine, world)

    @contextmanager
    def _engine(self, home: Path, instants: Instants) -> Any:
        fault = self.scenario.fault

        def points(where: str, subject: str, run: Any) -> None:
            instants.point(where, subject, run)
            if fault is not None:
                fault(where, subject, run)

        store = Store(f"sqlite:///{home / 'buildflow.sqlite'}", synchronous="OFF")
        store.journal.on_commit = instants.on_commit
        world = SimulatedWorld(home / "world.jsonl", clock=VirtualClock())
        settings = Settings(home=home, undo_timeout_s=1.0)
        engine = VmEngine(
            settings,
            drivers_of(world, *HOSTS, volume_attach="qemu"),
            store=store,
            clock=VirtualClock(),
            points=points,
            parallel=self.scenario.parallel,
            watch_s=None,
        )
        try:
            yield engine, world
        finally:
            engine.close()
            store.close()


def _resume_all(engine: VmEngine) -> None:
    for handle in engine.resume():
        handle.wait()


def _look(engine: VmEngine, world: SimulatedWorld) -> Row:
    row = engine.store.build(BUILD)
    effects = engine.store.effects(BUILD)
    return {
        "row": row,
        "world": world.snapshot(),
        "violations": world.violations,
        "operations": [len(world.operations()), row["seq"] if row else 0],
        "residue": sorted([e["step"], e["attempt"]] for e in effects if e["state"] == "residue"),
        "left": sorted([e["step"], e["attempt"]] for e in effects if e["state"] != "undone"),
    }
