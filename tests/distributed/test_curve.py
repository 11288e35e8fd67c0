"""A long board is as quick as a short one: submit, claim and list among 100, 1,000, 10,000 jobs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from buildflow.distributed.board import Board, Posting
from tests.distributed.conftest import BOARDS
from tests.distributed.crowd import copy_build, post_all
from tests.distributed.fleet import IMAGE, Fleet

SIZES = (100, 1_000, 10_000)


def _quickest(act: Callable[[], Any], times: int, good_ms: float = 0.0) -> float:
    """Milliseconds of the quickest of so many calls, or of the first that takes `good_ms` at most.

    What others do on this machine makes calls slower, never quicker.
    """
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        act()
        taken.append((time.perf_counter() - begun) * 1e3)
        if taken[-1] <= good_ms:
            break
    return min(taken)


@pytest.mark.services
@pytest.mark.slow
@pytest.mark.parametrize("kind", list(BOARDS))
def test_submit_claim_and_list_stay_flat(new_fleet: Callable[..., Fleet], kind: str) -> None:
    fleet = new_fleet(kind)
    first = fleet.submit("vm0", memory_mib=64)
    numbers = iter(range(1_000_000))

    def submit() -> None:
        words = ("submit", f"vm-{next(numbers)}", "--image", IMAGE, "--memory", "64")
        assert fleet.call(*words)["posted"]

    curve: dict[int, dict[str, float]] = {}
    # its claims are kept by nobody, and last as long as a slow machine may need
    conductor = Board(fleet.jobboard, "conductor", expiry_s=600)

    def good(name: str) -> float:
        """What a call may take among 10,000 jobs: about as much as among 100."""
        return 3 * curve[SIZES[0]][name] + 25

    for size in SIZES:
        post_all(fleet.board, copy_build(fleet.engine.store, first, size - fleet.jobs.count()))
        assert fleet.board.count() == len(fleet.board.posted()) == fleet.jobs.count() == size
        conductor._read_at = float("-inf")
        begun = time.perf_counter()
        conductor.next()
        reading = (time.perf_counter() - begun) * 1e3
        # it is shared by all claims that follow, and may take a tenth of the time: counted apart
        conductor._read_at = float("inf")
        held: list[Posting] = []

        def claim(held: list[Posting] = held) -> None:
            posting = conductor.next()
            assert posting is not None
            assert fleet.jobs.glance(posting.build) is not None
            assert conductor.claim(posting)
            held.append(posting)

        acts = {
            "submit": submit, "claim": claim, "list": lambda: fleet.call("list"),
            "jobs": lambda: fleet.call("jobs"),
        }  # fmt: skip
        if size < SIZES[-1]:
            curve[size] = {name: _quickest(act, 3) for name, act in acts.items()}
        else:
            curve[size] = {name: _quickest(act, 20, good(name)) for name, act in acts.items()}
        curve[size]["reading"] = reading
        for posting in held:
            conductor.consume(posting)
            fleet.board.post(posting.build)
    conductor.close()
    print(f"\n{kind}: ms, from the command line but for claim and reading")
    print(f"{'jobs':>8}" + "".join(f"{name:>10}" for name in curve[100]))
    for size, row in curve.items():
        print(f"{size:>8}" + "".join(f"{value:>10.1f}" for value in row.values()))
    for name in ("submit", "claim", "list", "jobs"):
        short, long = curve[SIZES[0]][name], curve[SIZES[-1]][name]
        assert long <= good(name), f"{name}: {long:.0f} ms among 10,000, {short:.0f} among 100"
