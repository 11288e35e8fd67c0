"""The fewest faults that still break the same rule, and the story of it for people."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from buildflow.faults.oracle import Reference
from buildflow.faults.plan import Fault
from buildflow.faults.play import Scenario, play
from buildflow.faults.scene import Scene


def shrink(scene: Scene, reference: Reference, failing: Scenario) -> Scenario:
    """A scenario with as few of the faults of `failing` as break one of its rules as well.

    Faults are followed by the name of their point, since without an earlier one its number differs.
    """
    named = tuple(Fault(f.code, None, f.name, f.turn) for f in failing.faults)
    for count in range(1, len(named)):
        for part in combinations(named, count):
            scenario = play(scene, reference, part)
            if scenario.rules & failing.rules:
                return scenario
    return failing


def story(
    scenario: Scenario, token: str | None = None, *, how: str = "buildflow faults replay {}"
) -> Iterator[str]:
    """What happened, a line a fault, then what became of it and which rule that breaks.

    `how` is the command that replays a token, with {} in its place.
    """
    if not scenario.struck:
        yield "Nothing goes wrong."
    for number, struck in enumerate(scenario.struck, start=1):
        when = "while it is undone" if struck.visit.undoing else f"in {struck.visit.step or 'it'}"
        if struck.visit.step == "resume":
            when = "while another process takes over"
        yield f"{number}. {struck.kind.name} at {struck.visit}, {when}: {struck.kind.why}"
    reported = f", reporting {scenario.reported}" if scenario.reported else ""
    yield f"The run ends {scenario.outcome.value}{reported}."
    for violation in scenario.violations:
        yield f"   broken rule `{violation.rule}`: {violation.text}"
    if token is not None:
        yield f"Replay: {how.format(token)}"
