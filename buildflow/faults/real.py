"""The same plans on real services: real processes that really die, real drivers that answer.

A plan is played twice, in the simulated world and on the drivers that the settings name. Both must
end alike; where they don't, one of them is wrong. On the real side every life is a process of its
own: a kill is SIGKILL to it, and another process goes on.

Only faults that need no lie of the world are played so: typed errors before a call, answers lost
after it, kills, and a store that fails. Each plan strikes at one point; at a point on the way back,
after the last step has failed.
"""

from __future__ import annotations

import os
import pickle
import signal
import time
import traceback
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from buildflow.api import VmEngine, open_world_of
from buildflow.config import Settings
from buildflow.drivers.protocols import Json
from buildflow.engine.guard import Intention
from buildflow.engine.store import Store
from buildflow.errors import BuildflowError, HostUnusable
from buildflow.faults.injector import Follow, Injector, Killed
from buildflow.faults.kinds import BY_CODE, Act, Kind
from buildflow.faults.machines import MachineScene
from buildflow.faults.plan import Fault
from buildflow.faults.play import play, reference_of
from buildflow.faults.points import points_of
from buildflow.faults.proxies import ArmedWorld
from buildflow.faults.scene import Outcome
from buildflow.faults.visit import Visit
from buildflow.flows.build import build_flow
from buildflow.states import power

# what can be done to real services without lying about what they did
_ACTS: Final = frozenset({Act.RAISE, Act.LOSE, Act.KILL, Act.STORE})
_LAST: Final = Fault("er", None, "finish:execute")
_LIVES_MAX: Final = 4
_ENDED: Final = (Outcome.COMPLETE, Outcome.ROLLED_BACK, Outcome.RESIDUE)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One plan: how it ended in the simulated world and on the real services."""

    plan: tuple[Fault, ...]
    simulated: str
    real: str
    struck: bool
    wrong: tuple[str, ...] = ()
    fault: str | None = None
    seconds: float = 0.0

    @property
    def alike(self) -> bool:
        """Whether both worlds agree, and the real one holds what its records say."""
        return self.struck and self.simulated == self.real and not self.wrong

    def as_json(self) -> Json:
        """For the document."""
        return {
            "plan": [{"point": f.name, "kind": f.kind.name} for f in self.plan],
            "simulated": self.simulated, "real": self.real, "struck": self.struck,
            "wrong": list(self.wrong), "fault": self.fault, "seconds": round(self.seconds, 2),
        }  # fmt: skip

    def __str__(self) -> str:
        last = self.plan[-1]
        back = ", going back" if len(self.plan) > 1 else ""
        text = f"{last.kind.name} at {last.name}{back}: {self.real}"
        if not self.struck:
            return f"{text}, and the point was not come to"
        if self.simulated != self.real:
            text += f", but {self.simulated} in the simulated world"
        return "; ".join([text, *self.wrong])


def plans_of(scene: MachineScene, codes: frozenset[str] | None = None) -> list[tuple[Fault, ...]]:
    """The plans that can be played for real, in the order of a build's way and the way back."""
    plans: list[tuple[Fault, ...]] = []
    by_name = {kind.name: kind for kind in BY_CODE.values()}
    for point in points_of(scene):
        for name in point.kinds:
            kind = by_name[name]
            if kind.act in _ACTS and (codes is None or kind.code in codes):
                fault = Fault(kind.code, None, point.name, point.turn)
                plans.append((_LAST, fault) if point.back else (fault,))
    return plans


def spread(plans: Sequence[tuple[Fault, ...]], count: int) -> list[tuple[Fault, ...]]:
    """`count` of the plans, evenly over the way and over the kinds."""
    if count >= len(plans):
        return list(plans)
    return [plans[index * len(plans) // count] for index in range(count)]


@dataclass
class RealWorld:
    """Where plans are played for real: `settings` name the drivers, `request` what is built.

    Needs a home of its own. This process never opens an embedded hypervisor: whoever opens one
    holds it until it ends. `ready` is called before each plan.
    """

    settings: Settings
    request: Json
    ready: Callable[[], None] = lambda: None

    def compare(self, scene: MachineScene, plan: tuple[Fault, ...]) -> Comparison:
        """Play `plan` in both worlds. Whoever interrupts it leaves no guest behind."""
        build = str(uuid.uuid4())
        try:
            return self._compare(scene, plan, build)
        except BaseException:
            in_child(lambda: self.remove(build))
            raise

    def _compare(self, scene: MachineScene, plan: tuple[Fault, ...], build: str) -> Comparison:
        started = time.monotonic()
        simulated = play(scene, reference_of(scene), plan).outcome.value
        self.ready()
        in_child(lambda: self.accept(build))
        log = self.settings.home / f"{build}.struck"
        left = plan
        for life in range(_LIVES_MAX):
            ended = in_child(_Life(self, build, left, log, resumes=life > 0))
            struck = log.read_text().splitlines() if log.exists() else []
            left = tuple(fault for fault in plan if _written(fault) not in struck)
            if ended:
                break
        found = in_child(lambda: self.look(build))
        assert found is not None
        return Comparison(
            plan, simulated, found["outcome"], not left, tuple(found["wrong"]),
            found["fault"], time.monotonic() - started,
        )  # fmt: skip

    def engine(self, injector: Injector | None = None) -> tuple[VmEngine, Store]:
        """One process's engine, seen through `injector`."""
        store = Store(self.settings.store_url)
        world = open_world_of(self.settings)
        if injector is None:
            return VmEngine(self.settings, world, store=store), store
        armed = ArmedWorld(world, injector)
        return VmEngine(
            self.settings, armed, store=store, points=injector.hooks(), parallel=False,
            watch_s=None,
        ), store  # fmt: skip

    def accept(self, build: str) -> bool:
        """Make the build durable, as a process that then dies does. No driver is opened."""
        store = Store(self.settings.store_url)
        with VmEngine(self.settings, store=store) as engine:
            inputs = {"name": "real", "max_attempts": 1, **self.request}
            engine.accept(build_flow, inputs, name="real", build_id=build, instance=True)
        store.close()
        return True

    def remove(self, build: str) -> bool:
        """Take down whatever there is of a build."""
        engine, store = self.engine()
        with engine:
            if store.build(build) is not None:
                engine.carry_out(build, Intention.DELETE, take_over=True)
        store.close()
        return True

    def look(self, build: str) -> Json:
        """What has become of a build, by the store and by the world; then it is removed."""
        engine, store = self.engine()
        wrong: list[str] = []
        try:
            row = engine.show(build)
            outcome = row["status"]
            compute = engine.world.on(row["host"] or next(iter(engine.world.hosts)))
            domain = compute.find_domain(build)
            runs = domain is not None and domain.power_state == power.RUNNING
            if outcome == Outcome.COMPLETE and not runs:
                wrong.append("complete, and its guest does not run")
            if outcome == Outcome.ROLLED_BACK and domain is not None:
                wrong.append("rolled back, and its domain is there")
            audit = engine.gc(dry_run=True).to_json()
            wrong += [f"{e['kind']} {e['id']} is a stray" for e in audit["strays"]]
            wrong += [f"{e['kind']} {e['id']} is lost" for e in audit["lost"]]
            if outcome == Outcome.COMPLETE:
                engine.carry_out(build, Intention.DELETE)
            elif outcome == Outcome.RESIDUE:
                engine.carry_out(build, Intention.CLEANUP)
                again = engine.show(build)["status"]
                if again != Outcome.ROLLED_BACK:
                    wrong.append(f"the cleanup leaves it {again}")
            left = [t for t in engine.world.inventory() if t.build == build]
            wrong += [f"{thing.kind} {thing.id} is left" for thing in left]
            fault = row["fault"]
            told = None if fault is None else f"{fault['type']}: {fault['message']}"
            return {"outcome": outcome, "wrong": wrong, "fault": told}
        finally:
            engine.close()
            store.close()


class _Stand:
    """What an injector asks of a scene, in the world as it is."""

    def __init__(self, engine_clock: Any) -> None:
        self.clock = engine_clock
        self.kinds = tuple(BY_CODE.values())
        self.only_at = None
        self.hang_s = 0.0

    def applies(self, kind: Kind, visit: Any) -> bool:
        """Nothing is done by hand."""
        return False

    def ended(self) -> bool:
        """What is struck after the end is written down is judged by what is there."""
        return False


class _Logged(Follow):
    """Strikes what a plan says, and writes it down first: a process may not live to tell."""

    def __init__(self, plan: tuple[Fault, ...], log: Path) -> None:
        super().__init__(plan)
        self._log = log

    def choose(self, visit: Visit, injector: Injector) -> Kind | None:
        """See Chooser."""
        before = list(self.left)
        kind = super().choose(visit, injector)
        if kind is not None:
            (struck,) = [fault for fault in before if fault not in self.left]
            with self._log.open("a") as file:
                print(_written(struck), file=file)
        return kind


def _written(fault: Fault) -> str:
    return f"{fault.code}@{fault.name}#{fault.turn}"


@dataclass
class _Life:
    """What one process does: begins the build, or goes on with it, with faults on its way."""

    world: RealWorld
    build: str
    plan: tuple[Fault, ...]
    log: Path
    resumes: bool

    def __call__(self) -> bool:
        from buildflow.engine.clock import SystemClock

        stand: Any = _Stand(SystemClock())
        injector = Injector(stand, _Logged(self.plan, self.log))
        injector.disarmed = True
        engine, store = self.world.engine(injector)
        if self.resumes:
            injector.new_process()
        store.journal.on_commit = lambda when, _unit: injector.at_commit(when)
        injector.disarmed = False
        try:
            engine.carry_out(self.build, take_over=True)
        except Killed:
            if not any(s.kind.act is Act.STORE for s in injector.struck):
                os.kill(os.getpid(), signal.SIGKILL)
        except BuildflowError:
            if not injector.struck:
                raise
        injector.disarm()
        row = store.build(self.build)
        return row is not None and row["status"] in _ENDED


def in_child(work: Callable[[], Any]) -> Any:
    """What `work` returns in a forked process; None when that was killed. Raises what it raised."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # they are for the process that forked it
        try:
            answer = pickle.dumps((work(), "", ""))
        except HostUnusable as error:
            answer = pickle.dumps((None, error.summary, ""))
        except BaseException:
            answer = pickle.dumps((None, "", traceback.format_exc()))
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(answer)
        os._exit(0)
    os.close(writer)
    try:
        with os.fdopen(reader, "rb") as pipe:
            answer = pipe.read()
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return None
    value, unusable, defect = pickle.loads(answer)  # noqa: S301 - of our own child
    if unusable:
        raise HostUnusable(unusable)
    if defect:
        raise RuntimeError(f"a life ended with\n{defect}")
    return value


def embedded(settings: Settings, home: Path, image: Path) -> RealWorld:
    """Real guests in a home of their own: 96 MiB from `image`, with one NIC."""
    chosen = replace(settings, home=home, boot_grace_s=0.1, undo_timeout_s=5.0)
    request = {"image": str(image), "networks": [{}], "memory_mib": 96, "volumes": []}
    return RealWorld(chosen, request)
