"""What an exploration found, for programs: a JSON document, and JUnit's XML for a CI."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

from buildflow.errors import BadInput
from buildflow.faults.explore import Exploration
from buildflow.faults.kinds import BY_CODE
from buildflow.faults.plan import make_token
from buildflow.faults.play import Scenario
from buildflow.faults.shrink import story

# what XML 1.0 cannot hold
_CONTROL = {code: "?" for code in range(32) if code not in (9, 10, 13)}


def token_or_none(scene: str, scenario: Scenario) -> str | None:
    """The token of a scenario; None when it has more faults than one holds."""
    try:
        return make_token(scene, scenario.faults)
    except BadInput:
        return None


def violations(result: Exploration) -> list[dict[str, Any]]:
    """Each failing scenario: its rules, its faults, how it ended, and the token that replays it."""
    return [scenario_row(result.scene, scenario) for scenario in result.failing]


def scenario_row(scene: str, scenario: Scenario) -> dict[str, Any]:
    """One scenario, as the documents have it."""
    return {
        "rules": sorted(scenario.rules),
        "texts": [str(v) for v in scenario.violations],
        "faults": [
            {"point": f.name, "turn": f.turn, "kind": BY_CODE[f.code].name} for f in scenario.faults
        ],
        "outcome": scenario.outcome.value,
        "reported": scenario.reported,
        "story": list(story(scenario)),
        "token": token_or_none(scene, scenario),
    }


def as_json(result: Exploration) -> dict[str, Any]:
    """The document of `buildflow faults run --json`. Times in seconds."""
    return {
        "scene": result.scene,
        "depth": result.depth,
        "scenarios": result.scenarios,
        "singles": result.singles,
        "pairs": result.pairs,
        "random": result.randoms,
        "executed": result.executed,
        "pruned": result.pruned,
        "positions": result.positions,
        "undecided": result.lost,
        "points": len(result.points),
        "seconds": round(result.seconds, 3),
        "outcomes": dict(sorted(result.outcomes.items())),
        "untaken_transitions": result.untaken,
        "violations": violations(result),
    }


def as_junit(result: Exploration) -> bytes:
    """A test case for each step and kind of single fault, and one for each failing scenario."""
    cases = sorted({(c.step, BY_CODE[c.code].name) for c in result.cells})
    suite = ET.Element("testsuite", {
        "name": f"faults.{result.scene}", "tests": str(len(cases) + len(result.failing)),
        "failures": str(len(result.failing)), "errors": "0", "time": f"{result.seconds:.3f}",
    })  # fmt: skip
    for step, kind in cases:
        ET.SubElement(suite, "testcase", {"classname": _plain(step or "start"), "name": kind})
    for scenario in result.failing:
        name = " then ".join(f"{BY_CODE[f.code].name} at {f.name}" for f in scenario.faults)
        case = ET.SubElement(
            suite, "testcase", {"classname": "broken", "name": _plain(name or "no fault")}
        )
        first = scenario.violations[0]
        failure = ET.SubElement(
            case, "failure", {"type": first.rule, "message": _plain(first.text)}
        )
        token = token_or_none(result.scene, scenario)
        failure.text = _plain("\n".join(story(scenario, token)))
    return bytes(ET.tostring(suite, encoding="utf-8", xml_declaration=True))


def _plain(text: str) -> str:
    return text.translate(_CONTROL)
