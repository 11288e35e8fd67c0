"""Where builds are killed: a store and a simulated world in files, and an oracle over both.

Each case gets copies of a store that was migrated once and of a world that was filled once. What a
build must come to is what it came to when nobody killed it; ids are derived from the build's, which
is the same in every case, so that the worlds can be compared whole.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
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
        whole = self.copy("whole")
        self.instants: list[str] = in_child(lambda: self._first(whole, Instants())["instants"])
        self.expected = self.verdict(whole)
        shutil.rmtree(whole)

    # --- one case ----------------------------------------------------------------------------------

    def judge(self, kills: tuple[int, ...]) -> str | None:
        """Kill at each of `kills` in turn, the later ones in resumes; what is wrong at the end."""
        home = self.copy("-".join(map(str, kills)))
        try:
            for index, kill_at in enumerate(kills):
                body = self._first if index == 0 else self._resume
                ended = in_child(lambda b=body, k=kill_at: b(home, Instants(k)))  # type: ignore[misc]
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
        if self.scenario.delete and row["status"] == "complete" and row["stop"] is None:
            # killed before the delete was durable: nothing has happened
            built = self.expected_built()
            return None if found["world"] == built["world"] else "not what had been built"
        for name in ("status", "vm_state", "residue", "left"):
            if found["row"].get(name, found.get(name)) != self.expected["row"].get(
                name, self.expected.get(name)
            ):
                wanted = self.expected["row"].get(name, self.expected.get(name))
                return f"{name} is {found['row'].get(name, found.get(name))}, not {wanted}"
        if found["world"] != self.expected["world"]:
            return f"the world is {found['world']}, not {self.expected['world']}"
        if row["status"] == "rolled_back" and found["world"] != self.empty:
            return "rolled back, and something is left"
        return None

    def expected_built(self) -> Row:
        """A complete build before its delete."""
        return in_child(lambda: self._look(self.template_of_delete))

    # --- what goes on in the children ----------------------------------------------------------------

    def copy(self, name: str) -> Path:
        """A folder of its own for one case."""
        import os

        home = self.folder / f"{os.getpid()}-{name}"
        shutil.copytree(self.template_of_delete if self.scenario.delete else self.template, home)
        return home

    def verdict(self, home: Path) -> Row:
        """Resume in a fresh process, look, resume again, look again."""

        def body() -> Row:
            self._resume(home, Instants())
            found = self._look(home)
            self._resume(home, Instants())
            found["again"] = self._look(home)["operations"]
            return found

        return in_child(body)

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

    def _resume(self, home: Path, instants: Instants) -> None:
        with self._engine(home, instants) as (engine, _):
            for handle in engine.resume():
                handle.wait()

    def _look(self, home: Path) -> Row:
        with self._engine(home, Instants()) as (engine, world):
            row = engine.store.build(BUILD)
            effects = engine.store.effects(BUILD)
            return {
                "row": row,
                "world": world.snapshot(),
                "violations": world.violations,
                "operations": [len(world.operations()), row["seq"] if row else 0],
                "residue": sorted(
                    (e["step"], e["attempt"]) for e in effects if e["state"] == "residue"
                ),
                "left": sorted(
                    (e["step"], e["attempt"]) for e in effects if e["state"] != "undone"
                ),
            }

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
            drivers_of(world, *HOSTS),
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
