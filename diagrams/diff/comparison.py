"""What differs between two versions, and for each difference whether builds in flight survive it.

The verdicts follow what the engine does. It holds a build to the atoms of its flow, in order: their
names, classes, effect kinds, needs and gifts (engine/fingerprint.py); where these differ it refuses
to go on, and offers to roll back from the ledger. It moves states by the tables of the moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from buildflow.diagrams.diff.sources import Snapshot
from buildflow.diagrams.model import Edge, FlowModel, MachineModel, Node, NodeType
from buildflow.states import Kind


class Verdict(StrEnum):
    """What a change means for a build that was begun before it."""

    SURVIVES = "survives"
    ROLLS_BACK = "rolls back"  # it can't go on, and `resume --revert` leaves nothing
    BREAKS = "breaks"  # it can't go on, nor be ended cleanly by the new version


SEVERITY = tuple(Verdict)


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: in `part` (flow, vm, ...) something was added, removed or changed."""

    part: str
    how: str
    item: str
    detail: str
    verdict: Verdict
    why: str


def worst(changes: tuple[Change, ...]) -> Verdict:
    """The verdict on all changes together."""
    return max((c.verdict for c in changes), key=SEVERITY.index, default=Verdict.SURVIVES)


def compare(old: Snapshot, new: Snapshot) -> tuple[Change, ...]:
    """Every difference from `old` to `new`; parts that only one side has are told as a whole."""
    changes: list[Change] = []
    for part in [*old, *(name for name in new if name not in old)]:
        before, after = old.get(part), new.get(part)
        if isinstance(before, FlowModel) and isinstance(after, FlowModel):
            changes.extend(_flows(before, after))
        elif isinstance(before, MachineModel) and isinstance(after, MachineModel):
            changes.extend(_machines(before, after))
        elif after is None:
            why = "the other side does not have it: nothing can be said"
            changes.append(Change(part, "removed", part, "", Verdict.BREAKS, why))
        else:
            why = "nothing in flight knows it"
            changes.append(Change(part, "added", part, "", Verdict.SURVIVES, why))
    return tuple(changes)


# --- flows ---------------------------------------------------------------------------------------

_REFUSED = "the engine refuses to go on with it; `resume --revert` rolls it back"


def _flows(old: FlowModel, new: FlowModel) -> Iterator[Change]:
    before = {node.name: node for node in old.walk()}
    after = {node.name: node for node in new.walk()}
    for name, node in before.items():
        if name not in after:
            yield _gone(node)
    for name, node in after.items():
        if name not in before:
            yield _new(node)
        else:
            yield from _node(before[name], node)
    yield from _order(old, new, before, after)


def _is_atom(node: Node) -> bool:
    return node.type is not NodeType.FLOW


def _gone(node: Node) -> Change:
    if not _is_atom(node):
        why = "builds are held to steps, not to the flows that they stand in"
        return Change("flow", "removed", node.text, "flow", Verdict.SURVIVES, why)
    if node.effect:
        why = f"nothing is left that could undo the {node.effect} which it has made"
        return Change("flow", "removed", node.text, _what(node), Verdict.BREAKS, why)
    return Change("flow", "removed", node.text, _what(node), Verdict.ROLLS_BACK, _REFUSED)


def _new(node: Node) -> Change:
    if not _is_atom(node):
        why = "builds are held to steps, not to the flows that they stand in"
        return Change("flow", "added", node.text, "flow", Verdict.SURVIVES, why)
    return Change("flow", "added", node.text, _what(node), Verdict.ROLLS_BACK, _REFUSED)


def _what(node: Node) -> str:
    return f"{node.type.value} making: {node.effect}" if node.effect else node.type.value


def _node(old: Node, new: Node) -> Iterator[Change]:
    def change(detail: str, verdict: Verdict, why: str) -> Change:
        return Change("flow", "changed", new.text, detail, verdict, why)

    if old.type is not new.type:
        yield change(f"{old.type.value} -> {new.type.value}", Verdict.ROLLS_BACK, _REFUSED)
    if old.effect != new.effect:
        detail = f"makes: {old.effect or 'nothing'} -> {new.effect or 'nothing'}"
        if old.effect:
            why = f"its undo no longer knows how to remove the {old.effect} that it has made"
            yield change(detail, Verdict.BREAKS, why)
        else:
            yield change(detail, Verdict.ROLLS_BACK, _REFUSED)
    for what, then, now in (
        ("needs", set(old.requires), set(new.requires)),
        ("gives", set(old.provides), set(new.provides)),
        ("class", {old.definition}, {new.definition}),
    ):
        if then != now and old.type is new.type and _is_atom(new):
            yield change(f"{what}: {_sets(then, now)}", Verdict.ROLLS_BACK, _REFUSED)
    for what, old_triggers, new_triggers in (
        ("start", old.on_start, new.on_start),
        ("end", old.on_done, new.on_done),
    ):
        if old_triggers != new_triggers:
            detail = f"at its {what}: {_list(old_triggers)} -> {_list(new_triggers)}"
            why = (
                "a build that has passed it stands in a state that the steps after it do not expect"
            )
            yield change(detail, Verdict.ROLLS_BACK, why)
    if (old.undo, old.no_undo) != (new.undo, new.no_undo):
        lost = bool(old.undo) and not new.undo and old.effect == new.effect != ""
        detail = f"undo: {old.undo or 'none'} -> {new.undo or 'none'}"
        why = "a rollback runs the new undo" if not lost else "a rollback undoes nothing here"
        yield change(detail, Verdict.BREAKS if lost else Verdict.SURVIVES, why)
    if old.undo_after != new.undo_after:
        detail = f"undo waits for: {_list(old.undo_after)} -> {_list(new.undo_after)}"
        yield change(detail, Verdict.SURVIVES, "a rollback goes in the new order")
    if old.pattern is not new.pattern:
        detail = f"{old.pattern.value} -> {new.pattern.value}"
        yield change(detail, Verdict.SURVIVES, "what has not run yet runs in the new order")
    if old.text != new.text:
        yield change(f"label: {old.text} -> {new.text}", Verdict.SURVIVES, "it is only shown")


def _sets(then: set[str], now: set[str]) -> str:
    parts = [f"-{name}" for name in sorted(then - now)] + [
        f"+{name}" for name in sorted(now - then)
    ]
    return " ".join(parts)


def _list(values: tuple[str, ...]) -> str:
    return ", ".join(values) or "nothing"


def _order(
    old: FlowModel, new: FlowModel, before: Mapping[str, Node], after: Mapping[str, Node]
) -> Iterator[Change]:
    """Steps of both versions that have another order, and those that moved into another flow."""
    kept = [n.name for n in old.walk() if n.name in after and _is_atom(n)]
    now = [n.name for n in new.walk() if n.name in before and _is_atom(n)]
    for then_name, now_name in zip(kept, now, strict=False):
        if then_name != now_name:
            detail = f"comes before {then_name} now"
            yield Change("flow", "moved", now_name, detail, Verdict.ROLLS_BACK, _REFUSED)
            break
    for name, node in after.items():
        then = before.get(name)
        if then is not None and _home(old, then) != _home(new, node):
            detail = f"from {_home(old, then)} to {_home(new, node)}"
            why = "builds are held to steps, not to the flows that they stand in"
            yield Change("flow", "moved", node.text, detail, Verdict.SURVIVES, why)


def _home(flow: FlowModel, node: Node) -> str:
    return flow.by_key[node.parent].name if node.parent is not None else ""


# --- machines ------------------------------------------------------------------------------------

_LOST = {
    Kind.FORWARD: (
        Verdict.ROLLS_BACK,
        "a build that is about to make it is stopped and rolled back",
    ),
    Kind.COMPENSATING: (Verdict.BREAKS, "a rollback can't walk back over it"),
    Kind.FAILING: (Verdict.BREAKS, "a rollback that ends here can't be told as an error"),
    Kind.DELETING: (Verdict.BREAKS, "a delete is refused in this state"),
    Kind.REPORTED: (Verdict.BREAKS, "what the hypervisor reports is refused"),
}


def _machines(old: MachineModel, new: MachineModel) -> Iterator[Change]:
    for state in old.states:
        if state.key not in new.by_key:
            why = "a build that is in it is in no state that is known"
            yield Change(new.name, "removed", state.key, "state", Verdict.BREAKS, why)
            continue
        then, now = set(state.values), set(new.by_key[state.key].values)
        if then - now:
            why = "a build that is in one of these is refused every move"
            detail = f"power: {_sets(then, now)}"
            yield Change(new.name, "changed", state.key, detail, Verdict.BREAKS, why)
        elif now - then:
            why = "what was legal still is"
            detail = f"power: {_sets(then, now)}"
            yield Change(new.name, "changed", state.key, detail, Verdict.SURVIVES, why)
        if state.stability is not new.by_key[state.key].stability:
            detail = f"{state.stability.value} -> {new.by_key[state.key].stability.value}"
            why = "it says what to expect of the state, and moves nothing"
            yield Change(new.name, "changed", state.key, detail, Verdict.SURVIVES, why)
    for state in new.states:
        if state.key not in old.by_key:
            why = "no build in flight is in it"
            yield Change(new.name, "added", state.key, "state", Verdict.SURVIVES, why)
    yield from _edges(old, new)
    if old.initial != new.initial:
        detail = f"{old.initial} -> {new.initial}"
        why = "only new builds begin there"
        yield Change(new.name, "changed", "first state", detail, Verdict.SURVIVES, why)


def _edges(old: MachineModel, new: MachineModel) -> Iterator[Change]:
    before = {(e.trigger, e.source): e for e in old.edges}
    after = {(e.trigger, e.source): e for e in new.edges}
    for at, edge in before.items():
        now = after.get(at)
        verdict, why = _LOST[edge.kind]
        if edge.source not in new.by_key:
            continue  # told with the state
        if now is None:
            yield Change(new.name, "removed", _arrow(edge), edge.kind.value, verdict, why)
        elif now.dest != edge.dest:
            detail = f"leads to {now.dest} now"
            why = "what follows in a build expects the state that it led to before"
            yield Change(new.name, "changed", _arrow(edge), detail, Verdict.ROLLS_BACK, why)
        elif now.kind is not edge.kind:
            detail = f"{edge.kind.value} -> {now.kind.value}"
            why = "it moves as before"
            yield Change(new.name, "changed", _arrow(edge), detail, Verdict.SURVIVES, why)
        elif edge.undo and now.undo != edge.undo:
            detail = f"walked back by: {edge.undo} -> {now.undo or 'nothing'}"
            verdict = Verdict.SURVIVES if now.undo else Verdict.BREAKS
            why = (
                "a rollback walks back by the new trigger"
                if now.undo
                else _LOST[Kind.COMPENSATING][1]
            )
            yield Change(new.name, "changed", _arrow(edge), detail, verdict, why)
    for at, edge in after.items():
        if at not in before:
            why = "what was legal still is"
            yield Change(new.name, "added", _arrow(edge), edge.kind.value, Verdict.SURVIVES, why)


def _arrow(edge: Edge) -> str:
    return f"{edge.trigger}: {edge.source} -> {edge.dest}"
