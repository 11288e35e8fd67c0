"""Runs at equal positions go on alike: what all of the exploration's pruning rests on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from buildflow.faults.graph import word_of
from buildflow.faults.injector import Injector
from buildflow.faults.kinds import Kind
from buildflow.faults.machines import MachineScene
from buildflow.faults.plan import Fault
from buildflow.faults.play import play, reference_of
from buildflow.faults.scene import Scene
from buildflow.faults.visit import Visit


@dataclass
class Way:
    """A chooser of one fault, or none, that notes where it has been: (position, fault, point)."""

    scene: Scene
    fault: Fault | None = None
    been: list[tuple[int, str, str]] = field(default_factory=list)
    options: list[Fault] = field(default_factory=list)

    def choose(self, visit: Visit, injector: Injector) -> Kind | None:
        """See Chooser."""
        kind = None
        if self.fault is not None and not injector.struck and self.fault.strikes(visit):
            kind = self.fault.kind
        word = word_of(self.scene.position(visit))
        self.been.append((word, kind.code if kind else "", str(visit)))
        if self.fault is None:
            self.options += [Fault.of(visit, each) for each in injector.options(visit)]
        return kind


def ways(scene: MachineScene) -> Iterator[Way]:
    """Every single fault at a point of the second volume, whose steps are in one batch with those
    of the first.
    """
    reference = reference_of(scene)
    clean = Way(scene)
    play(scene, reference, (), clean)
    yield clean
    for fault in clean.options:
        if fault.name.startswith("volume_1_"):
            way = Way(scene, fault)
            play(scene, reference, (), way)
            yield way


def test_a_position_leads_to_one_other() -> None:
    scene = MachineScene("two-volumes", nics=0, volumes=2)
    leads: dict[tuple[int, str], tuple[int, str, str]] = {}
    count = 0
    for way in ways(scene):
        count += 1
        for before, after in zip(way.been, way.been[1:], strict=False):
            word, code, point = before
            told = (after[0], after[2], f"{way.fault} from {point}")
            first = leads.setdefault((word, code), told)
            assert first[0] == told[0], f"{first[1:]} and {told[1:]}"
    assert count > 150
