"""Runs at equal positions go on alike: what all of the exploration's pruning rests on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from buildflow.faults.graph import word_of
from buildflow.faults.injector import Injector
from buildflow.faults.kinds import Kind
from buildflow.faults.machines import MachineScene
from buildflow.faults.plan import Fault
from buildflow.faults.play import play, reference_of
from buildflow.faults.scene import Scene
from buildflow.faults.visit import Visit


class Way:
    """A chooser of these faults, in their order, that notes where it has been: (position, fault,
    point), and what could have struck there.
    """

    def __init__(self, scene: Scene, *faults: Fault) -> None:
        self.scene, self.faults, self.left = scene, faults, list(faults)
        self.been: list[tuple[int, str, str]] = []
        self.options: list[Fault] = []

    def choose(self, visit: Visit, injector: Injector) -> Kind | None:
        """See Chooser."""
        kind = None
        if self.left and self.left[0].strikes(visit):
            kind = self.left.pop(0).kind
        word = word_of(self.scene.position(visit))
        self.been.append((word, kind.code if kind else "", str(visit)))
        if not self.faults:
            self.options += [Fault.of(visit, each) for each in injector.options(visit)]
        return kind


def ways(scene: MachineScene, chosen: Callable[[Fault], bool]) -> Iterator[Way]:
    """The run without faults, and one for each chosen fault at each of its points."""
    reference = reference_of(scene)
    clean = Way(scene)
    play(scene, reference, (), clean)
    yield clean
    for fault in filter(chosen, clean.options):
        way = Way(scene, fault)
        play(scene, reference, (), way)
        yield way


def leads_on(all_ways: Iterable[Way]) -> int:
    """How many ways there were; each position and fault of theirs has led to one next position."""
    leads: dict[tuple[int, str], tuple[int, str, str]] = {}
    count = 0
    for way in all_ways:
        count += 1
        for before, after in zip(way.been, way.been[1:], strict=False):
            word, code, point = before
            told = (after[0], after[2], f"{', '.join(map(str, way.faults))} from {point}")
            first = leads.setdefault((word, code), told)
            assert first[0] == told[0], f"{first[1:]} and {told[1:]}"
    return count


def test_a_position_leads_to_one_other() -> None:
    """At points of the second volume, whose steps are in one batch with those of the first."""
    scene = MachineScene("two-volumes", nics=0, volumes=2)
    assert leads_on(ways(scene, lambda fault: fault.name.startswith("volume_1_"))) > 150


def test_of_a_delete_too() -> None:
    """Whoever goes on with it comes after a process that lives, or after one that is gone."""
    scene = MachineScene("delete", nics=0, volumes=0, deleting=True)
    assert leads_on(ways(scene, lambda fault: fault.code in ("ki", "tc", "tk", "tr"))) > 50


def test_what_another_process_does_is_the_same_the_second_time() -> None:
    """It is done once, and remembered."""
    scene = MachineScene("tiny", nics=0, volumes=0)
    reference = reference_of(scene)
    for way in ways(scene, lambda fault: fault.code in ("tk", "tr")):
        again = Way(scene, *way.faults)
        play(scene, reference, (), again)
        assert again.been == way.been


def test_a_step_that_was_resumed_is_one_like_any_other_on_the_way_back() -> None:
    """Killed in a step and resumed, then sent to another host; and the same without the kill."""
    scene = MachineScene("hosts", nics=0, volumes=0, hosts=("sim1", "sim2"))
    reference = reference_of(scene)
    kill = Fault("ki", None, "block_device_info/commit:after", 1)
    fails = Fault("er", None, "spawning:recorded", 1)

    def both() -> Iterator[Way]:
        for way in (Way(scene, fails), Way(scene, kill, fails)):
            play(scene, reference, (), way)
            assert not way.left
            yield way

    assert leads_on(both()) == 2
