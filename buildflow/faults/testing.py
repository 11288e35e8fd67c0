"""From a test's words to an exploration: which scene, how deep, and what is told of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from buildflow.errors import BadInput
from buildflow.faults.explore import Exploration, Explorer, explore_one_by_one
from buildflow.faults.injector import Injector
from buildflow.faults.kinds import BY_CODE
from buildflow.faults.own_flow import OwnFlowScene
from buildflow.faults.plain_tasks import PlainTasksScene
from buildflow.faults.plan import read_token
from buildflow.faults.play import Scenario, reference_of, replay
from buildflow.faults.report import token_or_none
from buildflow.faults.scene import Scene
from buildflow.faults.shrink import shrink, story

# how many broken rules a test's failure tells in full
TOLD_MAX = 5
_HOW = '@pytest.mark.faults(replay="{}")'


def scene_for(flow: Callable[..., Any] | Scene, world: Callable[[], Any], more: Any) -> Scene:
    """The scene that a test's words name."""
    if isinstance(flow, Scene):
        return flow
    if "world" in inspect.signature(flow).parameters:
        return PlainTasksScene(flow, world, **more)
    return OwnFlowScene(flow, world, **more)


def codes_of(only: Iterable[str] | None) -> frozenset[str] | None:
    """Kinds by name or code. Raises BadInput for what is none."""
    if only is None:
        return None
    by_name = {kind.name: kind.code for kind in BY_CODE.values()}
    codes = set()
    for each in only:
        code = by_name.get(each, each)
        if code not in BY_CODE:
            raise BadInput(f"no kind of fault is called {each!r}; there are {', '.join(by_name)}")
        codes.add(code)
    return frozenset(codes)


def explore(
    scene: Scene,
    *,
    depth: int = 1,
    only: frozenset[str] | None = None,
    workers: int = 2,
    **options: Any,
) -> Exploration:
    """Explore a scene by positions, or one plan at a time where it can't tell its position."""
    scene.lay_out()
    scene.arm(Injector(scene))
    if scene.position(None) is None:
        return explore_one_by_one(scene, depth=depth, only=only, tell=options.get("tell"))
    return Explorer(scene, depth=depth, only=only, workers=workers, **options).run()


def explore_and_tell(
    flow: Callable[..., Any] | Scene, world: Callable[[], Any], options: Any, more: Any
) -> tuple[Any, str]:
    """The result, and what is to be said of it when a rule was broken; empty when none was."""
    scene = scene_for(flow, world, more)
    token = options.get("replay")
    if token is not None:
        reference = reference_of(scene)
        scenario = replay(scene, reference, read_token(token))
        told_of = story(scenario, token, how=_HOW)
        return scenario, "\n".join(told_of) if scenario.violations else ""
    result = explore(
        scene,
        depth=options.get("depth", 1),
        only=codes_of(options.get("only")),
        workers=options.get("workers", 2),
    )
    if not result.failing:
        return result, ""
    return result, "\n".join(told(scene, result))


def told(scene: Scene, result: Exploration) -> Iterable[str]:
    """The first broken rules, each shrunk to its fewest faults, as stories."""
    count = len(result.failing)
    yield f"{count} of {result.scenarios} scenarios of {result.scene} broke a rule"
    seen: set[frozenset[str]] = set()
    for failing in result.failing:
        if failing.rules in seen or len(seen) >= TOLD_MAX:
            continue
        seen.add(failing.rules)
        scenario: Scenario = shrink(scene, result.reference, failing)
        yield ""
        yield from story(scenario, token_or_none(result.scene, scenario), how=_HOW)
