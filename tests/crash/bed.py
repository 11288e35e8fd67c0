"""Where builds are killed: a store and a simulated world in files, and an oracle over both.

Each case gets copies of a store that was migrated once and of a world that was filled once. What a
build must come to is what it came to when nobody killed it; ids are derived from the build's, which
is the same in every case, so that the worlds can be compared whole.
"""

from __future__ import annotations

import gc
import json
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
from tests.crash.deaths import Deaths
from tests.crash.forks import Instants, in_child

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


class Bed(Deaths):
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
        self.template_of_delete = folder / "built"
        self.empty = in_child(lambda: self._look(self.template))["world"]
        if scenario.delete:
            shutil.copytree(self.template, self.template_of_delete)
            built = in_child(lambda: self._build(self.template_of_delete, Instants()))
            assert built["status"] == "complete", built
            self.built = in_child(lambda: self._look(self.template_of_delete))
        # in this process, so that whatever is made once is there before the first fork
        whole = self.copy("whole")
        instants = Instants()
        self.first(whole, instants)
        self.instants, self.names = instants.passed, list(instants.names)
        self.expected = _as_json(self.verdict(whole))
        shutil.rmtree(whole)
        gc.collect()
        gc.freeze()  # what is there now is not walked, and so not copied, in each child

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

    def origin(self) -> Path:
        """See tests/crash/deaths.py, as for the next three."""
        return self.template_of_delete if self.scenario.delete else self.template

    def verdict(self, home: Path) -> Row:
        """With one engine, as whoever resumes has."""
        with self._engine(home, Instants()) as (engine, world):
            _resume_all(engine)
            found = _look(engine, world)
            _resume_all(engine)
            found["again"] = _look(engine, world)["operations"]
            return found

    def first(self, home: Path, instants: Instants) -> Row:
        """Build it, or delete what was built."""
        if self.scenario.delete:
            with self._engine(home, instants) as (engine, _):
                shown = engine.delete(BUILD).wait()
                return {"status": shown["status"]}
        return self._build(home, instants)

    def _build(self, home: Path, instants: Instants) -> Row:
        with self._engine(home, instants) as (engine, _):
            row = engine.accept(
                build_flow, self.inputs, name="killed", build_id=BUILD, instance=True
            )
            shown = engine.start(row).wait()
            return {"status": shown["status"]}

    def resume(self, home: Path, instants: Instants) -> None:
        """Go on with what is left."""
        with self._engine(home, instants) as (engine, _):
            _resume_all(engine)

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


def _as_json(found: Row) -> Row:
    """As what is found in a child arrives here."""
    answer: Row = json.loads(json.dumps(found))
    return answer


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
