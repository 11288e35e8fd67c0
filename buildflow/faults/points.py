"""Which points a scene has, and which kinds of fault can strike at each: what `faults list` prints.

They are come to, not written down: in a run without faults, in one that fails at its last step and
is rolled back, and in one whose process is killed there and that another process takes over.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from buildflow.faults.injector import Injector
from buildflow.faults.kinds import BY_CODE, Kind
from buildflow.faults.play import run_to_end
from buildflow.faults.scene import Scene
from buildflow.faults.visit import At, Visit


@dataclass(slots=True)
class Point:
    """One point: how often the run comes to it, and the names of the kinds that can strike.

    `turn` is that of its first visit on this way: on the way back it may have had some before.
    """

    name: str
    step: str
    at: At
    back: bool
    turn: int = 1
    visits: int = 0
    kinds: dict[str, None] = field(default_factory=dict)


def points_of(scene: Scene) -> list[Point]:
    """The points of a scene, those on the way forward first."""
    found: dict[tuple[str, bool], Point] = {}
    first = _Lister(found, None)
    _run(scene, first)
    if first.last_step is not None:
        for code in ("er", "ki"):
            _run(scene, _Lister(found, (code, first.last_step)))
    return list(found.values())


def _run(scene: Scene, lister: _Lister) -> None:
    scene.lay_out()
    scene.arm(Injector(scene, lister))
    run_to_end(scene)


class _Lister:
    """Notes every point; strikes once, at the point that it is given."""

    def __init__(
        self, found: dict[tuple[str, bool], Point], strike: tuple[str, str] | None
    ) -> None:
        self.found, self.strike = found, strike
        self.known = set(found)
        self.last_step: str | None = None

    def choose(self, visit: Visit, injector: Injector) -> Kind | None:
        """See Chooser."""
        key = visit.name, visit.back
        if key not in self.known:
            point = self.found.setdefault(
                key, Point(visit.name, visit.step, visit.at, visit.back, visit.turn)
            )
            point.visits += 1
            point.kinds.update(dict.fromkeys(kind.name for kind in injector.options(visit)))
        if visit.at is At.EXECUTE:
            self.last_step = visit.name
        if self.strike is not None and visit.name == self.strike[1]:
            kind = BY_CODE[self.strike[0]]
            self.strike = None
            return kind
        return None
