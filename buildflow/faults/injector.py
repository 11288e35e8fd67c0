"""What is armed: it stands at every point of a run, asks a chooser, and lets the fault happen.

Nothing of this exists in a run that is not armed: the engine has no points, the journal no hook and
the drivers are themselves. Arming takes a call of `Scene.arm`; no environment variable does it.
"""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from buildflow.engine import points
from buildflow.errors import StoreError
from buildflow.faults.kinds import BY_CODE, Act, Kind, kinds_at
from buildflow.faults.plan import Fault
from buildflow.faults.visit import At, Visit

if TYPE_CHECKING:
    from buildflow.faults.scene import Scene

DELAY_S = 7.0
# so many points within one undo or one step: ten times what the longest wait with a deadline has
PATIENCE = 20_000
slug = functools.cache(points.slug)


class Killed(BaseException):
    """The process is gone. Nothing that is left of it may act on the world or the store."""


class Endless(BaseException):
    """It waits or tries again, and nothing that it looks at will end that."""


class Chooser(Protocol):
    """Decides at each point whether a fault strikes, and which."""

    def choose(self, visit: Visit, injector: Injector) -> Kind | None:
        """The kind that strikes now; None for none."""


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault that has struck: at which visit, how it is known again, what happened next."""

    visit: Visit
    code: str
    mark: str = ""
    accepted: bool = True  # a request to stop was accepted; a change by hand changed something
    late: bool = False  # how the run has ended was written down by then

    @property
    def kind(self) -> Kind:
        """What it is."""
        return BY_CODE[self.code]

    @property
    def fault(self) -> Fault:
        """As a part of a plan."""
        return Fault.of(self.visit, self.kind)


@dataclass(slots=True)
class Injector:
    """See the module. One for one run of a scene."""

    scene: Scene
    chooser: Chooser | None = None
    struck: list[Struck] = field(default_factory=list)
    visits: int = 0
    strikes: int = 0  # of this run; `struck` is those of a plan
    step: str = ""
    back: bool = False
    down: set[str] = field(default_factory=set)
    dead: bool = False
    disarmed: bool = False
    # how far the run has come inside of its present activity: part of a position
    activity: tuple[str, str] = ("", "")
    inside: int = 0
    # what has struck inside of it: a step that asks whether its effect is there after all, because
    # an answer was lost, is not where one is that asks for another reason
    recent: tuple[tuple[int, str], ...] = ()
    since: float = 0.0
    worn: int = 0
    # what a run has done between two points that must never happen, as `rule: text`
    flaws: list[str] = field(default_factory=list)
    _acting: bool = False
    _turns: Counter[str] = field(default_factory=Counter)
    _options: dict[tuple[At, str, str, bool], tuple[Kind, ...]] = field(default_factory=dict)

    # --- where runs call ---------------------------------------------------

    def at_step(self, where: str, subject: str, back: bool) -> None:
        """A moment of a step."""
        if self.disarmed or self._acting:
            return
        at = At(where)
        self.step, self.back = subject, back
        if at in _BEGINS:
            self.activity, self.inside, self.recent = (where, subject), 0, ()
            self.worn = 0
            self.since = self.scene.clock.monotonic()
        self._come_to(at, f"{slug(subject)}:{where}")

    def before_call(self, driver: str, call: str) -> None:
        """A driver is about to be called."""
        if self.disarmed or self._acting:
            return
        if self.dead:
            raise Killed
        self._wear()
        if driver in self.down:
            raise _DOWN.make_error(self._mark_of("dn"), driver)
        self._come_to(At.CALL_BEFORE, f"{slug(self.step)}/{driver}.{call}:before", driver, call)

    def after_call(self, driver: str, call: str) -> None:
        """A driver has done what it was asked for."""
        if not self.disarmed:
            self._come_to(At.CALL_AFTER, f"{slug(self.step)}/{driver}.{call}:after", driver, call)

    def at_commit(self, when: str) -> None:
        """A boundary is about to be made durable, or has been."""
        if self.disarmed:
            return
        at = At.COMMIT_BEFORE if when == "before" else At.COMMIT_AFTER
        self._come_to(at, f"{slug(self.step)}/commit:{when}")

    def new_process(self, how: str = "") -> None:
        """Another process goes on with what the dead one has left. `how` it begins is a part of its
        position until it comes to a step.
        """
        self.dead, self.step, self.back = False, "resume", False
        self.activity, self.inside, self.recent = ("resume", how), 0, ()
        self.worn = 0
        self.since = self.scene.clock.monotonic()

    def disarm(self) -> None:
        """No more faults: services are up again, disks have room."""
        self.disarmed = True
        self.down.clear()

    # --- what can happen, and does ---------------------------------------------------

    def options(self, visit: Visit) -> list[Kind]:
        """The kinds that can strike here, as things stand."""
        only_at = self.scene.only_at
        if only_at is not None and only_at.fullmatch(visit.name) is None:
            return []
        key = (visit.at, visit.driver, visit.call, visit.back)
        found = self._options.get(key)
        if found is None:
            found = self._options[key] = kinds_at(visit, self.scene.kinds)
        return [k for k in found if k.act not in _ASK_SCENE or self.scene.applies(k, visit)]

    def _come_to(self, at: At, name: str, driver: str = "", call: str = "") -> None:
        if self._acting:
            return  # what a fault itself calls is no point of the run
        if self.dead:
            raise Killed
        self._wear()
        self._turns[name] += 1
        self.inside += 1
        visit = Visit(
            self.visits, at, name, self._turns[name], self.step, driver, call, self.back,
            self.activity[0] in _UNDOING,
        )  # fmt: skip
        self.visits += 1
        kind = self.chooser.choose(visit, self) if self.chooser is not None else None
        if kind is not None:
            self.strike(kind, visit)

    def _wear(self) -> None:
        self.worn += 1
        if self.worn > PATIENCE:
            raise Endless(f"{' of '.join(filter(None, self.activity))} goes on for ever")

    def strike(self, kind: Kind, visit: Visit) -> None:
        """Let `kind` happen at `visit`."""
        self.strikes += 1
        self.recent = (*self.recent, (self.inside, kind.code))
        mark = f"[fault {len(self.struck) + 1}]"
        accepted, late = True, self.scene.ended()
        if kind.act in _BY_SCENE:
            self._acting = True
            accepted = self.scene.act(kind, visit)
            self._acting = False
        self.struck.append(Struck(visit, kind.code, mark, accepted, late))
        match kind.act:
            case Act.KILL:
                self.dead = True
                raise Killed
            case Act.RAISE | Act.LOSE:
                raise kind.make_error(mark, visit.driver)
            case Act.DOWN:
                self.down.add(visit.driver)
                raise kind.make_error(mark, visit.driver)
            case Act.HANG:
                self.scene.clock.sleep(self.scene.hang_s)
                raise kind.make_error(mark, visit.driver)
            case Act.DELAY:
                self.scene.clock.sleep(DELAY_S)
            case Act.STORE:
                # whoever could not reach the store gives the build up, as a crash would
                self.dead = True
                raise StoreError(f"the database failed {mark}")

    def _mark_of(self, code: str) -> str:
        return next((s.mark for s in self.struck if s.kind.code == code), "")

    def faults(self) -> tuple[Fault, ...]:
        """What has struck so far, as a plan."""
        return tuple(struck.fault for struck in self.struck)

    def hooks(self) -> Any:
        """The engine's Points, for this injector."""

        def points(where: str, subject: str, run: Any) -> None:
            self.at_step(where, subject, bool(run.going_back or run.removing))

        return points


_BEGINS = frozenset({At.EXECUTE, At.REVERT, At.UNDO})
_UNDOING = frozenset({At.REVERT, At.UNDO})
_BY_SCENE = frozenset({Act.GUEST, Act.WORLD, Act.STOP, Act.FULL, Act.TAKE})
_ASK_SCENE = frozenset({Act.GUEST, Act.WORLD, Act.FULL, Act.TAKE})
_DOWN = BY_CODE["dn"]


class Follow:
    """Strikes what a plan says, each fault once."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        self.left = list(faults)

    def choose(self, visit: Visit, injector: Injector) -> Kind | None:
        """See Chooser."""
        for fault in self.left:
            if fault.strikes(visit):
                self.left.remove(fault)
                return fault.kind
        return None
