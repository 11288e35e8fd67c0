"""What a build costs: every driver call of one NIC and two volumes. `pytest -s` prints it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from buildflow.drivers.simulated import SimulatedWorld, drivers_of
from buildflow.engine.clock import VirtualClock
from tests.drivers.simulated.one_build import OneBuild

ROUNDS, BUILDS = 5, 40


def best_of(rounds: int, work: Callable[[int], object], count: int) -> float:
    """Microseconds of CPU that one of `count` calls takes, in the best of `rounds`."""
    best = float("inf")
    for turn in range(rounds):
        begin = time.process_time()
        for number in range(count):
            work(turn * count + number)
        best = min(best, time.process_time() - begin)
    return best / count * 1e6


@pytest.mark.parametrize(("where", "limit_us"), [("memory", 1000), ("file", 5000)])
def test_the_driver_calls_of_a_build(tmp_path: Path, where: str, limit_us: float) -> None:
    path = tmp_path / "world.jsonl" if where == "file" else None
    world = SimulatedWorld(path, clock=VirtualClock())
    drivers = drivers_of(world)
    volumes = [
        (world.add_volume(id=f"v-{n}-a"), world.add_volume(id=f"v-{n}-b"))
        for n in range(ROUNDS * BUILDS)
    ]
    made: list[OneBuild] = []

    def make(number: int) -> None:
        made.append(OneBuild(drivers, f"u-{number}", volumes[number]))
        made[-1].make()

    forward = best_of(ROUNDS, make, BUILDS)
    back = best_of(ROUNDS, lambda number: made[number].unmake(), BUILDS)
    print(f"\n{where}: {forward:.0f} us forward, {back:.0f} us back")
    assert world.violations == []
    assert forward < limit_us
    assert back < limit_us


def test_a_copy_and_a_digest_for_exploration() -> None:
    world = SimulatedWorld(clock=VirtualClock())
    OneBuild(drivers_of(world), "u-1", [world.add_volume(), world.add_volume()]).make()
    copy = best_of(ROUNDS, lambda _number: world.copy(), 100)
    digest = best_of(ROUNDS, lambda _number: world.digest(), 100)
    print(f"\na copy {copy:.0f} us, a digest {digest:.0f} us")
    assert copy < 200
    assert digest < 1000


def test_a_thousand_builds_are_not_dearer_each_than_ten() -> None:
    world = SimulatedWorld(clock=VirtualClock())
    drivers = drivers_of(world)

    def there_and_back(number: int) -> None:
        build = OneBuild(drivers, f"again-{number}")
        build.make()
        build.unmake()

    few = best_of(3, there_and_back, 30)
    for number in range(1000):
        OneBuild(drivers, f"u-{number}").make()
    many = best_of(3, lambda number: there_and_back(number + 1000), 30)
    print(f"\n{few:.0f} us with no other, {many:.0f} us beside 1000")
    assert many < 3 * few
