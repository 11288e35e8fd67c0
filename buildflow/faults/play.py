"""One scenario, played in this process: laid out, armed, run through every crash to its end."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from buildflow.errors import BuildflowError
from buildflow.faults import oracle
from buildflow.faults.injector import Chooser, Endless, Follow, Injector, Killed, Struck
from buildflow.faults.oracle import Reference, Violation
from buildflow.faults.plan import Fault, Token, make_token
from buildflow.faults.scene import Outcome, Scene

# a build is resumed once for each fault that stops it; more without another one: it never ends
RESUMES_MAX = 12


@dataclass(frozen=True, slots=True)
class Scenario:
    """What became of one plan."""

    faults: tuple[Fault, ...]
    struck: tuple[Struck, ...]
    outcome: Outcome
    violations: tuple[Violation, ...]
    visits: int
    reported: str | None = None

    @property
    def rules(self) -> frozenset[str]:
        """The rules that were broken."""
        return frozenset(v.rule for v in self.violations)


def run_to_end(scene: Scene, *, begun: bool = False) -> list[Violation]:
    """Start, and resume after each crash. What the engine lets escape besides is a violation.

    `begun`: the scene is one that was put back to where a process had died.
    """
    work = scene.resume if begun else scene.start
    struck, resumes = 0, 0
    while resumes < RESUMES_MAX:
        struck, resumes = scene.injector.strikes, resumes + 1
        try:
            work()
        except Killed:
            pass
        except Endless as error:
            return [Violation("endless", str(error))]
        except BuildflowError as error:
            if not scene.injector.dead and not scene.injector.struck:
                return [Violation("crash", f"{type(error).__name__}: {error}")]
        except Exception as error:
            return [Violation("crash", f"{type(error).__name__} escapes: {error}")]
        else:
            let_go = scene.outcome() is Outcome.UNFINISHED and not scene.injector.dead
            if let_go and scene.resumes:
                scene.injector.flaws.append(
                    "unfinished: its process let go of it, and nothing had stopped it"
                )
        if scene.outcome() is not Outcome.UNFINISHED or not scene.resumes:
            break
        if scene.injector.strikes > struck:
            resumes = 0  # a walk strikes far oftener than a plan may
        work = scene.resume
    return []


def reference_of(scene: Scene) -> Reference:
    """What a run without faults does; `scene` is used up. What escapes from it is for `play`."""
    scene.lay_out()
    scene.arm(Injector(scene))
    before = scene.before()
    with contextlib.suppress(Exception, Endless):
        scene.start()
    return Reference(before, scene.inventory(), scene.outcome())


def play(
    scene: Scene, reference: Reference, faults: tuple[Fault, ...], chooser: Chooser | None = None
) -> Scenario:
    """Play one plan and judge it; `scene` is laid out anew."""
    scene.lay_out()
    injector = Injector(scene, chooser or Follow(faults))
    scene.arm(injector)
    found = run_to_end(scene)
    outcome = scene.outcome()
    fault = scene.fault()
    visits = injector.visits
    found += judge_end(scene, injector, reference, outcome)
    return Scenario(
        injector.faults(),
        tuple(injector.struck),
        outcome,
        tuple(found),
        visits,
        None if fault is None else f"{fault['type']}: {fault['message']}",
    )


def judge_end(
    scene: Scene, injector: Injector, reference: Reference, outcome: Outcome
) -> list[Violation]:
    """Every rule, at the end of a run."""
    found = oracle.on_the_way(scene, injector)
    found += oracle.by_outcome(scene, injector, outcome)
    try:
        found += oracle.at_end(scene, injector, reference, outcome)
    except Exception as error:
        found.append(Violation("crash", f"{type(error).__name__} while it is finished: {error}"))
    return list(dict.fromkeys(found))


def replay(scene: Scene, reference: Reference, token: Token) -> Scenario:
    """Play a token. Raises BadInput when it was made by another version of what it points at."""
    scenario = play(scene, reference, token.faults)
    token.check(scenario.faults)
    return scenario


def token_of(scene: Scene, scenario: Scenario) -> str:
    """The token that replays a scenario."""
    return make_token(scene.name, scenario.faults)
