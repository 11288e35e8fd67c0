"""What an exploration found, for programs: a JSON document, and JUnit's XML for a CI."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

from buildflow.errors import BadInput
from buildflow.faults.explore import Exploration
from buildflow.faults.kinds import BY_CODE
from buildflow.faults.plan import make_token
from buildflow.faults.play import Scenario
from buildflow.faults.several import Result, Several, parts_of
from buildflow.faults.shrink import story

# what XML 1.0 cannot hold
_CONTROL = {code: "?" for code in range(32) if code not in (9, 10, 13)}


def token_or_none(scene: str, scenario: Scenario) -> str | None:
    """The token of a scenario; None when it has more faults than one holds."""
    try:
        return make_token(scene, scenario.faults)
    except BadInput:
        return None


def violations(result: Result) -> list[dict[str, Any]]:
    """Each failing scenario: its scene, its rules, its faults, how it ended, and its token."""
    return [
        {"scene": part.scene, **scenario_row(part.scene, scenario)}
        for part in parts_of(result)
        for scenario in part.failing
    ]


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


def as_json(result: Result) -> dict[str, Any]:
    """The document of `buildflow faults run --json`. Times in seconds; `scenes` has the figures of
    each scene.
    """
    return {
        "scene": result.scene,
        "depth": result.depth,
        **_figures(result),
        "untaken_transitions": result.untaken,
        "violations": violations(result),
        "scenes": [
            {
                "scene": part.scene,
                **_figures(part),
                "untaken_transitions": part.untaken,
                "violations": len(part.failing),
            }
            for part in parts_of(result)
        ],
    }


def _figures(result: Result) -> dict[str, Any]:
    return {
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
    }


def as_junit(result: Result) -> bytes:
    """A suite for a scene, and one suite of suites for several: in each a test case for each step
    and kind of single fault, and one for each failing scenario.
    """
    suites = [_suite(part) for part in parts_of(result)]
    root = suites[0]
    if isinstance(result, Several):
        root = ET.Element("testsuites", {
            "name": "faults", "errors": "0", "time": f"{result.seconds:.3f}",
            **{n: str(sum(int(s.get(n, "0")) for s in suites)) for n in ("tests", "failures")},
        })  # fmt: skip
        root.extend(suites)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))


def _suite(result: Exploration) -> ET.Element:
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
    return suite


def _plain(text: str) -> str:
    return text.translate(_CONTROL)
