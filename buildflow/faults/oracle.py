"""The oracle: it knows what was there before and what a run without faults leaves, and no asserts.

A run may end in three ways: complete, and exactly what was asked for is there; gone, and exactly
what was there before is there; residue, and exactly what its list says is there besides. What holds
everywhere is checked on the way as well: see `on_the_way`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from buildflow.errors import Refused
from buildflow.faults.injector import Injector, Struck
from buildflow.faults.kinds import Act
from buildflow.faults.scene import Inventory, Outcome, Scene
from buildflow.faults.visit import At


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that was broken, and how."""

    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.text}"


@dataclass(frozen=True, slots=True)
class Reference:
    """What was there before the run, and after one without any fault."""

    before: Inventory
    complete: Inventory
    outcome: Outcome


def on_the_way(scene: Scene, injector: Injector, visit_at: At | None = None) -> list[Violation]:
    """What must hold at each moment of a run. `visit_at`: where it is now; None at its end."""
    found = [_violation(text) for text in dict.fromkeys((*scene.flaws(), *injector.flaws))]
    found += _first_fault(scene, injector, ended=visit_at is None)
    if visit_at is At.EXECUTE and not injector.back and scene.fault() is None:
        lost = _surfaced(injector)
        if lost is not None and not scene.errors():
            found.append(
                Violation("swallowed", f"the run goes on and says nothing of {_told(lost)}")
            )
    return found


def by_outcome(scene: Scene, injector: Injector, outcome: Outcome) -> list[Violation]:
    """What the way in which a run ends must be true to: all that depends on which faults have
    struck, and not on what is there in the end. An end that is known is not judged again.
    """
    found = []
    struck = injector.struck
    failed = outcome in (Outcome.ROLLED_BACK, Outcome.RESIDUE) and outcome is not scene.ends
    if failed and _all_survivable(scene, struck):
        found.append(Violation("needless", f"ended {outcome} though nothing had failed for good"))
    found += [_violation(text) for text in scene.own_errors()]
    if outcome is Outcome.RESIDUE and not any(_may_leave(s) for s in struck):
        found.append(Violation("needless", "something is left though no undo had failed"))
    if outcome is Outcome.COMPLETE and any(s.kind.act is Act.STOP and s.accepted for s in struck):
        found.append(Violation("stop", "it was asked to stop, agreed, and completed"))
    if outcome is Outcome.COMPLETE and any(s.kind.code == "tr" and not s.late for s in struck):
        found.append(Violation("stop", "it was to be rolled back, and completed"))
    if outcome is Outcome.COMPLETE:
        lost = _surfaced(injector)
        if lost is not None and scene.fault() is None and not _told_of(lost, scene.errors()):
            found.append(Violation("swallowed", f"complete, and nothing is said of {_told(lost)}"))
        # another host may have built it since; what happened on the first is told then
        if _unnoticed_guest(injector) and not _rescheduled(scene):
            found.append(Violation("complete", "the guest had died before its boot was over"))
    return found


def at_end(
    scene: Scene, injector: Injector, reference: Reference, outcome: Outcome
) -> list[Violation]:
    """The verdict on a run that has ended; changes the scene (it has the clean-up done)."""
    if outcome is Outcome.UNFINISHED:
        return [Violation("unfinished", "no number of resumes brings it to an end")]
    found = []
    now = scene.inventory()
    tolerated = scene.tolerated()
    if outcome is Outcome.COMPLETE:
        found += _complete(scene, injector, now, reference, tolerated)
    elif outcome is Outcome.ROLLED_BACK:
        left = differences(reference.before, now, tolerated)
        if left and _swept(scene, injector):
            left = differences(reference.before, scene.inventory(), tolerated)
        found += [Violation("gone", text) for text in left]
        silent = scene.fault() is None and scene.lists_residue and not scene.asked_back()
        if silent and reference.outcome is Outcome.COMPLETE:
            found.append(Violation("fault", "rolled back, and no fault is reported"))
        found += _stopped(scene, injector)
    if outcome is Outcome.RESIDUE:
        found += _residue(scene, injector, tolerated)
    found += [_violation(text) for text in scene.wrong_at_end(outcome)]
    if outcome is not scene.ends and not injector.struck:
        found.append(Violation("reference", f"without any fault it ends {outcome.value}"))
    found += _afterwards(scene, injector, reference, outcome)
    return found


def differences(
    expected: Inventory, found: Inventory, tolerated: frozenset[str] = frozenset()
) -> list[str]:
    """Each thing that is left, missing or changed, in words."""
    texts = []
    for name in sorted(expected.keys() | found.keys()):
        if name in tolerated or expected.get(name) == found.get(name):
            continue
        if name not in expected:
            texts.append(f"{name} is left")
        elif name not in found:
            texts.append(f"{name} is missing")
        else:
            texts.append(f"{name} is {_changes(expected[name], found[name])}")
    return texts


def _changes(expected: object, found: object) -> str:
    if not isinstance(expected, dict) or not isinstance(found, dict):
        return f"{found!r}, not {expected!r}"
    changed = [k for k in expected.keys() | found.keys() if expected.get(k) != found.get(k)]
    return ", ".join(f"{k} {found.get(k)!r}, not {expected.get(k)!r}" for k in sorted(changed))


def _violation(text: str) -> Violation:
    rule, colon, rest = text.partition(": ")
    return Violation(rule, rest) if colon else Violation("scene", text)


# --- the ends ------------------------------------------------------------------------------------


def _complete(
    scene: Scene,
    injector: Injector,
    now: Inventory,
    reference: Reference,
    tolerated: frozenset[str],
) -> list[Violation]:
    if reference.outcome is not Outcome.COMPLETE:
        return [Violation("complete", "complete, where a run without faults is not")]
    missing = differences(reference.complete, now, tolerated)
    if missing and _swept(scene, injector):
        missing = differences(reference.complete, scene.inventory(), tolerated)
    if missing and _rescheduled(scene) and shape(now) == shape(reference.complete):
        missing = []
    return [Violation("complete", text) for text in missing]


def _rescheduled(scene: Scene) -> bool:
    return bool(scene.errors())


def _unnoticed_guest(injector: Injector) -> bool:
    """A guest that something happened to while its boot was being waited for, by step name."""
    return any(
        s.kind.act is Act.GUEST and s.accepted and s.visit.at is At.WAIT and not s.visit.back
        for s in injector.struck
    )


def _residue(scene: Scene, injector: Injector, tolerated: frozenset[str]) -> list[Violation]:
    listed, present = scene.residue(), scene.present()
    if not scene.lists_residue:
        return []
    if present is None:
        return []
    found = [
        Violation("residue", f"{kind} {key} is left and not listed")
        for key, kind in sorted(present.items())
        if key not in listed
    ]
    # a world that cannot be asked leaves it open whether the last call had made anything
    asked = {s.visit.step for s in injector.struck if s.visit.undoing}
    steps = scene.made()
    # nor do those that wait for an undo that failed: whether they are there nobody has looked
    waiting = scene.waiting() if asked else frozenset()
    if not tolerated and not any(_leaves_open(s) for s in injector.struck):
        found += [
            Violation("residue", f"{kind} {key} is listed and not there")
            for key, kind in sorted(listed.items())
            if key not in present
            and key in steps
            and steps[key] not in asked
            and key not in waiting
        ]
    return found


def _leaves_open(struck: Struck) -> bool:
    return struck.kind.act in (Act.DOWN, Act.HANG) or struck.kind.outcome_unknown


def _swept(scene: Scene, injector: Injector) -> bool:
    """Whether what a process made that had been overtaken, and was kept from taking back, was found
    and removed by who looks for such things.
    """
    acts = [s.kind.act for s in injector.struck]
    if Act.TAKE not in acts or len(acts) == acts.index(Act.TAKE) + 1:
        return False
    injector.disarm()
    return scene.swept()


def _stopped(scene: Scene, injector: Injector) -> list[Violation]:
    deleted = any(
        s.kind.act is Act.STOP and s.kind.name == "delete" and s.accepted for s in injector.struck
    )
    state = scene.vm_state()
    if deleted and state not in (None, "deleted"):
        return [Violation("stop", f"a delete was accepted, and the machine is {state}")]
    return []


def _afterwards(
    scene: Scene, injector: Injector, reference: Reference, outcome: Outcome
) -> list[Violation]:
    """The command that finishes the job does; what has ended is never run again."""
    injector.disarm()
    tolerated = scene.tolerated()
    if outcome is Outcome.RESIDUE:
        scene.finish()
        after = scene.outcome()
        if after is not Outcome.ROLLED_BACK:
            return [Violation("cleanup", f"leaves the run {after}")]
        left = differences(reference.before, scene.inventory(), tolerated)
        return [Violation("cleanup", text) for text in left] + [
            _violation(text) for text in scene.flaws()
        ]
    ended = scene.inventory()
    if scene.resumes:
        writes = scene.writes()
        scene.resume()
        again = differences(ended, scene.inventory()) or scene.writes() != writes
        if again or scene.outcome() is not outcome:
            return [Violation("again", "a run that had ended was run again")]
    if outcome is Outcome.COMPLETE:
        scene.undo_all()
        left = differences(reference.before, scene.inventory(), tolerated)
        if scene.inventory() != ended:
            return [Violation("delete", text) for text in left] + [
                _violation(text) for text in scene.flaws()
            ]
    return []


# --- which faults have what right ----------------------------------------------------------------


def _all_survivable(scene: Scene, struck: list[Struck]) -> bool:
    """Whether nothing failed for good: kills and delays, and answers lost of what was made."""
    if not scene.resumes and any(s.kind.act is Act.KILL for s in struck):
        return False
    return bool(struck) and all(
        s.kind.benign or (s.kind.act is Act.LOSE and s.visit.call.startswith("create"))
        for s in struck
    ) and sum(s.kind.act is Act.LOSE for s in struck) <= 1  # fmt: skip


def _may_leave(struck: Struck) -> bool:
    """Whether a fault can be why an undo has failed."""
    act, kind, visit = struck.kind.act, struck.kind, struck.visit
    if act in (Act.DOWN, Act.GUEST, Act.WORLD, Act.FULL):
        return True
    if not (visit.back or visit.undoing):
        return False
    if act is Act.RAISE:  # what may pass is tried again; a refusal is not, nor an undo's own error
        return visit.at is At.UNDO or (kind.error is not None and issubclass(kind.error, Refused))
    return act is Act.HANG


# what a process knew that was gone before it had told, or had no say any more, nobody can know
_LAST_WORDS = frozenset({Act.KILL, Act.STORE, Act.TAKE})


def _surfaced(injector: Injector) -> Struck | None:
    """The first fault that told the run for sure, while it went forward, that it cannot go on."""
    for index, s in enumerate(injector.struck):
        before = injector.struck[:index]
        if any(b.kind.outcome_unknown or b.kind.act is Act.TAKE for b in before):
            return None  # the run was asking the world: what fails then is told as the lost answer
        if injector.scene.asks_others(s.visit):
            continue
        if s.kind.definite and not s.visit.back and not s.visit.undoing and not s.late:
            died = any(a.kind.act in _LAST_WORDS for a in injector.struck[index + 1 :])
            return None if died else s
    return None


def _first_fault(scene: Scene, injector: Injector, *, ended: bool) -> list[Violation]:
    fault = scene.fault()
    if fault is None:
        return []
    first = _surfaced(injector)
    if first is None:
        return []
    earlier = injector.struck[: injector.struck.index(first)]
    if any(s.kind.act in _DERIVED or s.kind.outcome_unknown for s in earlier):
        return []
    if first.mark not in fault["message"]:
        return [
            Violation("first", f"reports {fault['message']!r}, and not the first: {_told(first)}")
        ]
    return []


_DERIVED = frozenset(
    {Act.TAKE, Act.GUEST, Act.WORLD, Act.STOP, Act.FULL, Act.HANG, Act.KILL, Act.DELAY}
)


def _told_of(struck: Struck, errors: list[dict[str, object]]) -> bool:
    return any(struck.mark in str(error.get("message", "")) for error in errors)


def _told(struck: Struck) -> str:
    return f"{struck.kind.name} at {struck.visit}"


_ANONYMOUS = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "ID"),
    (re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}"), "MAC"),
    (re.compile(r"\b\d+\.\d+\.\d+\.\d+\b"), "IP"),
    (re.compile(r"tap[0-9a-f-]{8,}"), "TAP"),
    (re.compile(r"\bsim\d+\b"), "HOST"),
)


def shape(inventory: Inventory) -> list[str]:
    """An inventory without its names: what another attempt, on another host, makes alike."""
    texts = []
    for name, record in inventory.items():
        text = f"{name} {json.dumps(record, sort_keys=True)}"
        for pattern, stands_for in _ANONYMOUS:
            text = pattern.sub(stands_for, text)
        texts.append(text)
    return sorted(texts)
