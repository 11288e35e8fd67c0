"""The pytest plugin: a fixture that fails a flow in every way, and a marker that says how far.

    def test_order(faults):
        faults(order_flow, world=Shop)

`faults` explores every single fault of the flow, and fails the test with the story of each broken
rule and the token that replays it. `@pytest.mark.faults(depth=2)` explores ordered pairs as well;
`only=["kill", "lost answer"]` names the kinds; `replay="b1...."` plays one token again.

pytest finds it by its entry point. Nothing but pytest is imported until a test uses the fixture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from buildflow.faults.explore import Exploration
    from buildflow.faults.scene import Scene


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        "faults(depth=1, only=None, workers=2, replay=None): how the `faults` fixture explores",
    )


_OPTIONS = frozenset({"depth", "only", "workers", "replay"})


class Faults:
    """What the fixture gives: call it with a flow factory, or with a Scene of your own."""

    def __init__(self, **options: Any) -> None:
        self._options = options

    def __call__(
        self, flow: Callable[..., Any] | Scene, world: Callable[[], Any] = dict, **more: Any
    ) -> Exploration:
        """Explore, and fail the test when a rule is broken.

        `flow` makes a flow of buildflow steps; when it takes an argument `world` it makes one of
        plain TaskFlow tasks. `world` makes the world anew; `inputs`, `inventory`: see own_flow.py.
        """
        from buildflow.errors import BuildflowError
        from buildflow.faults.testing import explore_and_tell

        unknown = self._options.keys() - _OPTIONS
        if unknown:
            pytest.fail(f"the mark `faults` has no option {min(unknown)!r}", pytrace=False)
        try:
            told: tuple[Exploration, str] = explore_and_tell(flow, world, self._options, more)
        except BuildflowError as error:
            pytest.fail(error.summary, pytrace=False)
        if told[1]:
            pytest.fail(told[1], pytrace=False)
        return told[0]


@pytest.fixture
def faults(request: pytest.FixtureRequest) -> Faults:
    """Fails a flow in every way there is; see the module."""
    marker = request.node.get_closest_marker("faults")
    return Faults(**(marker.kwargs if marker is not None else {}))
