"""What is done with one mistake, each part in a process that has imported nothing of the product.

`explore` plants it, lets the kit look for a plan that breaks a rule, and shrinks the first;
`replay` plays a token, with the mistake or without it. Requests and answers are JSON.
"""

from __future__ import annotations

import time
from typing import Any

from tests.faults.planted.mistake import Mistake
from tests.faults.planted.planting import plant

Json = dict[str, Any]


def explore(mistake: Mistake) -> Json:
    """Whether the kit finds it; the rule, the fewest faults, the token and the story."""
    plant(mistake)
    from buildflow.faults.explore import Explorer
    from buildflow.faults.plan import make_token
    from buildflow.faults.report import scenario_row
    from buildflow.faults.scene_names import scene_called
    from buildflow.faults.shrink import shrink

    started = time.process_time()
    scene = scene_called(mistake.scene)
    only = frozenset(mistake.kinds) or None
    explorer = Explorer(scene, depth=mistake.depth, workers=1, only=only, stop_at_first=True)
    result = explorer.run()
    answer: Json = {"found": bool(result.failing), "scenarios": result.scenarios}
    if result.failing:
        scenario = shrink(scene, result.reference, result.failing[0])
        answer |= scenario_row(scene.name, scenario)
        answer["token"] = make_token(scene.name, scenario.faults)
        answer["plan"] = [[fault.code, fault.name, fault.turn] for fault in scenario.faults]
    answer["cpu"] = time.process_time() - started
    return answer


def replay(mistake: Mistake | None, token: str, plan: list[list[Any]]) -> Json:
    """The rules that the token breaks. Without the mistake its points may be counted otherwise:
    then the same faults strike at the points of the same names.
    """
    if mistake is not None:
        plant(mistake)
    from buildflow.errors import BadInput
    from buildflow.faults import play
    from buildflow.faults.plan import Fault, read_token
    from buildflow.faults.scene_names import scene_called

    read = read_token(token)
    scene = scene_called(read.scene)
    reference = play.reference_of(scene)
    try:
        scenario = play.replay(scene, reference, read)
    except BadInput:
        if mistake is not None:
            raise
        named = tuple(Fault(code, None, name, turn) for code, name, turn in plan)
        scenario = play.play(scene, reference, named)
    return {"rules": sorted(scenario.rules), "texts": [str(v) for v in scenario.violations]}
