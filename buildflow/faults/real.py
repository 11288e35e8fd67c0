"""The same plans on real services: real processes that really die, real drivers that answer.

A plan is played twice, in the simulated world and on the drivers that the settings name. Both must
end alike; where they don't, one of them is wrong. On the real side every life is a process of its
own: a kill is SIGKILL to it, and another process goes on.

Only faults that need no lie of the world are played so: typed errors before a call, answers lost
after it, kills, and a store that fails. Each plan strikes at one point; at a point on the way back,
after the last step has failed; at one of a process that goes on, after a kill there.
"""

from __future__ import annotations

import os
import pickle
import signal
import time
import traceback
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from buildflow.api import VmEngine, normalise_inputs, open_world_of
from buildflow.config import Settings
from buildflow.drivers.protocols import Json
from buildflow.drivers.registry import KINDS as DRIVER_KINDS
from buildflow.drivers.registry import driver_factory
from buildflow.drivers.world import World
from buildflow.engine.clock import SystemClock
from buildflow.engine.guard import Intention
from buildflow.engine.store import Store
from buildflow.errors import BadInput, BuildflowError, HostUnusable
from buildflow.faults.ending import Ending, counted, ending, ending_of
from buildflow.faults.injector import Injector, Killed
from buildflow.faults.kinds import BY_CODE, Act, Kind
from buildflow.faults.machines import MachineScene
from buildflow.faults.plan import Fault
from buildflow.faults.play import run_to_end
from buildflow.faults.points import points_of
from buildflow.faults.proxies import ArmedWorld
from buildflow.faults.scene import Outcome
from buildflow.faults.visit import Visit
from buildflow.flows.build import build_flow
from buildflow.states import power

# what can be done to real services without lying about what they did
_ACTS: Final = frozenset({Act.RAISE, Act.LOSE, Act.KILL, Act.STORE})
_LAST: Final = Fault("er", None, "finish:execute")
_KILL: Final = Fault("ki", None, "finish:execute")
_RESUMING: Final = "resume/"  # points of a process that takes a build over
_LIVES_MAX: Final = 4
_ENDED: Final = (Outcome.COMPLETE, Outcome.ROLLED_BACK, Outcome.RESIDUE)
# what looks at the services without the drivers: how many of each kind a build has there
Witness = Callable[[str], dict[str, int]]


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
            text += ", and the point was not come to"
        elif self.simulated != self.real:
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
                if point.name.startswith(_RESUMING):
                    plans.append((_KILL, fault))
                elif point.back and scene.intention is Intention.RUN:
                    plans.append((_LAST, fault))
                else:
                    plans.append((fault,))
    return plans


def spread(plans: Sequence[tuple[Fault, ...]], count: int) -> list[tuple[Fault, ...]]:
    """`count` of the plans, evenly over the way and over the kinds."""
    if count >= len(plans):
        return list(plans)
    return [plans[index * len(plans) // count] for index in range(count)]


class InOrder:
    """Strikes what a plan says, one after the other: each at the first visit of its point after the
    one before has struck. How often a real run comes to a point is a matter of time.
    """

    def __init__(self, plan: Sequence[Fault]) -> None:
        self.left = list(plan)

    def choose(self, visit: Visit, injector: Injector) -> Kind | None:
        """See Chooser."""
        if not self.left or self.left[0].name != visit.name:
            return None
        self.strikes(self.left[0])
        return self.left.pop(0).kind

    def strikes(self, fault: Fault) -> None:
        """It is about to."""


def simulate(scene: MachineScene, plan: Sequence[Fault]) -> Ending:
    """How a plan ends in the simulated world; `scene` is laid out anew."""
    scene.lay_out()
    scene.arm(Injector(scene, InOrder(plan)))
    run_to_end(scene)
    return ending_of(scene)


@dataclass
class RealWorld:
    """Where plans are played for real: `settings` name the drivers, `request` what is built.

    Needs a home of its own. This process never opens an embedded hypervisor: whoever opens one
    holds it until it ends. `ready` is called before each plan, `mend` after one that ended unlike:
    what it has left must not be in the way of the next. With `deleting` each plan strikes
    the delete of a machine that was built without faults. What a witness counts is compared with
    the simulated world beside what the drivers list; once a build is removed it is to be `idle`.
    `unlisted` are kinds of effect of which these drivers have nothing to list.
    """

    settings: Settings
    request: Json
    ready: Callable[[], None] = lambda: None
    mend: Callable[[], None] = lambda: None
    deleting: bool = False
    witnesses: Sequence[Witness] = ()
    idle: dict[str, int] = field(default_factory=dict)
    unlisted: frozenset[str] = frozenset()

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
        simulated = simulate(scene, plan)
        self.ready()
        in_child(lambda: self.accept(build))
        if self.deleting:
            in_child(lambda: self.finish_build(build))
        log = self.settings.home / f"{build}.struck"
        found: Json | None = None
        left = plan
        for life in range(_LIVES_MAX):
            found = in_child(_Life(self, build, left, log, resumes=life > 0))
            struck = log.read_text().splitlines() if log.exists() else []
            left = tuple(fault for fault in plan if _written(fault) not in struck)
            if found is not None:
                break
        if found is None:
            found = in_child(lambda: self.look_again(build))
        assert found is not None
        real: Ending = found["ending"]
        compared = Comparison(
            plan, simulated.outcome, real.outcome, not left,
            (*real.unlike(simulated), *found["wrong"]), found["fault"], time.monotonic() - started,
        )  # fmt: skip
        if not compared.alike:
            self.mend()
        return compared

    def open(self) -> tuple[World, Store]:
        """The drivers and the store, for one process."""
        return open_world_of(self.settings), Store(self.settings.store_url)

    def get_ready(self) -> None:
        """Import what a life will need, so that each finds it: they are forked from here."""
        for kind in DRIVER_KINDS:
            driver_factory(kind, self.settings)
        Store(self.settings.store_url).close()

    def require(self) -> bool:
        """See that all that the machine needs can be used. Raises BadInput, NotFound, HostUnusable;
        nothing is made.
        """
        from buildflow.flows.prebuild import validate

        world, store = self.open()
        world.network.check()
        build = str(uuid.uuid4())
        validate(world, normalise_inputs(self._inputs(build)), build)
        world.close()
        store.close()
        return True

    def accept(self, build: str) -> bool:
        """Make the build durable, as a process that then dies does. No driver is opened."""
        store = Store(self.settings.store_url)
        with VmEngine(self.settings, store=store) as engine:
            inputs = self._inputs(build)
            engine.accept(build_flow, inputs, name=inputs["name"], build_id=build, instance=True)
        store.close()
        return True

    def _inputs(self, build: str) -> Json:
        return {"name": f"faults-{build[:8]}", "max_attempts": 1, **self.request}

    def finish_build(self, build: str) -> bool:
        """Build it, without faults."""
        world, store = self.open()
        with VmEngine(self.settings, world, store=store) as engine:
            engine.carry_out(build, take_over=True)
            row = engine.show(build)
        store.close()
        if row["status"] != Outcome.COMPLETE:
            raise HostUnusable(f"the machine to be deleted can't be built: {row['fault']}")
        return True

    def remove(self, build: str) -> bool:
        """Take down whatever there is of a build."""
        world, store = self.open()
        with VmEngine(self.settings, world, store=store) as engine:
            if store.build(build) is not None:
                engine.carry_out(build, Intention.DELETE, take_over=True)
        store.close()
        return True

    def look_again(self, build: str) -> Json:
        """`look`, by a process that has only come to see."""
        return self.look(build, *self.open())

    def look(self, build: str, world: World, store: Store) -> Json:
        """What has become of a build, by the store and by the world; then it is removed."""
        engine = VmEngine(self.settings, world, store=store)
        wrong: list[str] = []
        try:
            row = store.find(build)
            things = counted(world.inventory(), build)
            for word in self.unlisted:
                del things[word]
            for witness in self.witnesses:
                for word, count in witness(build).items():
                    listed = things.setdefault(word, count)
                    if listed != count:
                        wrong.append(f"the drivers list {listed} {word}, and there are {count}")
            ended = ending(row, store.effects(build), store.history(build), things)
            wrong += self._inconsistent(row, world, engine)
            if ended.outcome == Outcome.RESIDUE:
                engine.carry_out(build, Intention.CLEANUP)
            elif ended.outcome != Outcome.ROLLED_BACK:
                engine.carry_out(build, Intention.DELETE, take_over=True)
            again = store.find(build)["status"]
            if again != Outcome.ROLLED_BACK:
                wrong.append(f"once it is removed it is {again}")
            wrong += self._left(build, world)
            fault = row["fault"]
            told = None if fault is None else f"{fault['type']}: {fault['message']}"
            return {"ending": ended, "wrong": wrong, "fault": told}
        finally:
            engine.close()
            store.close()

    @staticmethod
    def _inconsistent(row: Json, world: World, engine: VmEngine) -> list[str]:
        wrong = []
        compute = world.on(row["host"] or next(iter(world.hosts)))
        domain = compute.find_domain(row["id"])
        runs = domain is not None and domain.power_state == power.RUNNING
        if row["status"] == Outcome.COMPLETE and not runs:
            wrong.append("complete, and its guest does not run")
        if row["status"] == Outcome.ROLLED_BACK and domain is not None:
            wrong.append("rolled back, and its domain is there")
        audit = engine.gc(dry_run=True).to_json()
        for what in ("stray", "lost"):
            rows = audit["strays" if what == "stray" else "lost"]
            wrong += [f"{e['kind']} {e['id']} is {what}" for e in rows if e["build"] == row["id"]]
        return wrong

    def _left(self, build: str, world: World) -> list[str]:
        things = world.inventory()
        wrong = [f"{t.kind} {t.id} is left" for t in things if t.build == build]
        left = counted(things, build)
        for witness in self.witnesses:
            left |= witness(build)
        for word in sorted(left.keys() | self.idle.keys()):
            count, wanted = left.get(word, 0), self.idle.get(word, 0)
            if count != wanted:
                wrong.append(f"{count} {word} when all is removed, not {wanted}")
        return wrong


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


class _Logged(InOrder):
    """Strikes what a plan says, and writes it down first: a process may not live to tell."""

    def __init__(self, plan: tuple[Fault, ...], log: Path) -> None:
        super().__init__(plan)
        self._log = log

    def strikes(self, fault: Fault) -> None:
        """See InOrder."""
        with self._log.open("a") as file:
            print(_written(fault), file=file)


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

    def __call__(self) -> Json | None:
        """What has become of the build once it has ended; None while it has not."""
        stand: Any = _Stand(SystemClock())
        injector = Injector(stand, _Logged(self.plan, self.log))
        injector.disarmed = True
        world, store = self.world.open()
        engine = VmEngine(
            self.world.settings, ArmedWorld(world, injector), store=store,
            points=injector.hooks(), parallel=False, watch_s=None,
        )  # fmt: skip
        if self.resumes:
            injector.new_process()
        store.journal.on_commit = lambda when, _unit: injector.at_commit(when)
        injector.disarmed = False
        intention = Intention.DELETE if self.world.deleting else Intention.RUN
        try:
            engine.carry_out(self.build, intention, take_over=True)
        except Killed:
            if not any(s.kind.act is Act.STORE for s in injector.struck):
                os.kill(os.getpid(), signal.SIGKILL)
        except BuildflowError:
            if not injector.struck:
                raise
        injector.disarm()
        row = store.build(self.build)
        if row is None or row["status"] not in _ENDED:
            return None
        if self.world.deleting and row["status"] == Outcome.COMPLETE:
            return None
        return self.world.look(self.build, world, store)


def in_child(work: Callable[[], Any]) -> Any:
    """What `work` returns in a forked process; None when that was killed. Raises what it raised."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # they are for the process that forked it
        try:
            answer = pickle.dumps((work(), None, ""))
        except (BadInput, HostUnusable) as error:
            kind = BadInput if isinstance(error, BadInput) else HostUnusable
            answer = pickle.dumps((None, (kind, error.summary), ""))
        except BaseException:
            answer = pickle.dumps((None, None, traceback.format_exc()))
        try:
            with os.fdopen(writer, "wb") as pipe:
                pipe.write(answer)
        finally:
            os._exit(0)  # whoever asked may have gone: what it was about is not done twice
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
    value, refusal, defect = pickle.loads(answer)  # noqa: S301 - of our own child
    if refusal is not None:
        kind, text = refusal
        raise kind(text)
    if defect:
        raise RuntimeError(f"a life ended with\n{defect}")
    return value
