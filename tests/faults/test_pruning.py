"""What is pruned is lost to nobody: every pair of a small flow, run whole and explored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from buildflow.faults.explore import Explorer, explore_one_by_one
from buildflow.faults.own_flow import OwnFlowScene
from tests.faults.orders import Shop, forgetful_flow, order_flow

pytestmark = pytest.mark.slow

# enough to come to every sort of edge: errors, kills, lost answers, a store that fails, deletes
_ONLY = frozenset({"er", "ki", "lo", "de", "cf"})


@pytest.mark.parametrize("flow", [order_flow, forgetful_flow])
def test_pairs_explored_are_pairs_run(flow: Callable[[], Any]) -> None:
    whole = explore_one_by_one(OwnFlowScene(flow, Shop, name="orders"), depth=2, only=_ONLY)
    pruned = Explorer(OwnFlowScene(flow, Shop, name="orders"), depth=2, only=_ONLY, workers=1).run()
    assert pruned.lost == 0
    assert (pruned.singles, pruned.pairs) == (whole.singles, whole.pairs)
    assert pruned.executed < whole.executed

    def rules(failing: Any) -> set[str]:
        return {rule for scenario in failing for rule in scenario.rules}

    assert rules(pruned.failing) == rules(whole.failing)
    assert bool(whole.failing) is (flow is forgetful_flow)
    singles = Counter((c.point, c.code, c.outcome) for c in whole.cells)
    assert Counter((c.point, c.code, c.outcome) for c in pruned.cells) == singles


def test_time_does_not_pass() -> None:
    scene = OwnFlowScene(order_flow, Shop, name="orders")
    found = Explorer(scene, depth=1, only=frozenset({"ha", "sl"}), workers=1).run()
    assert found.singles > 0
    # each hang alone would take hang_s
    assert found.seconds < scene.hang_s * found.singles / 10
