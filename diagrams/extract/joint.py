"""The legal triples that the build flow can reach, and the way that a successful build takes.

Found by trying every move from every triple reached so far: what the flow's steps fire, what walks
that back, what the engine fires when a rollback or a delete ends, and the hypervisor's reports. The
tables and the joint table decide what is legal, so an illegal triple cannot be in the picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from buildflow.diagrams.extract.engine_moves import ENGINE_MOVES, REPORTS, Move
from buildflow.diagrams.extract.moments import Walked, moments
from buildflow.diagrams.model import Edge, FlowModel, MachineModel, Moment, StateNode
from buildflow.diagrams.model.run import joint_key
from buildflow.errors import DefinitionError, InvalidTransition
from buildflow.states import InstanceStates, Kind, Stability, apply, joint, power, task, vm
from buildflow.states.machine import OWNER_OF, TABLES, label, row_for


def extract_joint(flow: FlowModel) -> MachineModel:
    """The joint chart of `flow`: pairs of vm and task state, with the power states of each."""
    walked = list(moments(flow))
    moves = [*_moves(walked), *ENGINE_MOVES, *REPORTS]
    reached, edges = _explore(moves)
    powers: dict[str, set[int]] = {}
    for triple in reached:
        powers.setdefault(joint_key(label(triple[0]), label(triple[1])), set()).add(triple[2])
    states = []
    for row in joint.TABLE:
        key = joint_key(label(row.vm_state), label(row.task_state))
        if key in powers:
            states.append(
                StateNode(
                    key=key,
                    stability=_stability(row.vm_state, row.task_state),
                    why=row.why,
                    values=tuple(power.NAMES[p] for p in power.NAMES if p in powers[key]),
                    unreached=tuple(
                        power.NAMES[p]
                        for p in power.NAMES
                        if p in row.power_states and p not in powers[key]
                    ),
                )
            )
    place = {state.key: i for i, state in enumerate(states)}
    edges.sort(key=lambda e: (place[e.source], place[e.dest]))
    start = InstanceStates()
    return MachineModel(
        name="joint",
        why="which vm, task and power states may stand together while an instance is built",
        initial=_key(start),
        states=tuple(states),
        edges=tuple(edges),
        path=(
            Moment("", (), _key(start), value=label(start.power_state)),
            *(
                Moment(m.step, m.triggers, _key(m.states), m.box, label(m.states.power_state))
                for m in walked
            ),
        ),
    )


def _key(states: InstanceStates) -> str:
    return joint_key(label(states.vm_state), label(states.task_state))


def _moves(walked: Iterable[Walked]) -> Iterator[Move]:
    """What the steps fire, and what walks each of these back."""
    before = InstanceStates()
    for moment in walked:
        rows = [row_for(trigger, before) for trigger in moment.triggers]
        yield Move(moment.triggers, rows[0].kind, moment.step)
        undos = tuple(row.undo for row in reversed(rows) if row.undo)
        if len(undos) == len(rows):
            yield Move(undos, Kind.COMPENSATING, f"undo of {moment.step}")
        before = moment.states


def _explore(moves: Iterable[Move]) -> tuple[set[joint.Triple], list[Edge]]:
    """Every triple that can be reached, and the edges between pairs of vm and task state."""
    known = list(moves)
    start = InstanceStates()
    reached = {start.triple}
    waiting = [start]
    edges: dict[tuple[str, str, str], Edge] = {}
    while waiting:
        here = waiting.pop()
        for move in known:
            if not _may(move, here):
                continue
            try:
                after = apply(here, move.triggers)
            except (InvalidTransition, DefinitionError):
                continue
            if after.triple not in reached:
                reached.add(after.triple)
                waiting.append(after)
            if _key(after) != _key(here):
                _join(edges, move, _key(here), _key(after), here)
    ordered = [edges[at] for at in sorted(edges, key=_table_order)]
    return reached, ordered


def _may(move: Move, here: InstanceStates) -> bool:
    """Whether the engine would make this move here, the tables apart."""
    if move.kind is Kind.COMPENSATING:  # a delete undoes without walking the machine back
        return here.task_state != task.DELETING
    if "give_up" in move.triggers or move.kind is not Kind.FAILING:
        return True
    return here.task_state is task.IDLE


def _join(
    edges: dict[tuple[str, str, str], Edge],
    move: Move,
    source: str,
    dest: str,
    here: InstanceStates,
) -> None:
    name = " + ".join(move.triggers)
    at = (name, source, dest)
    steps = edges[at].steps if at in edges else ()
    if move.step not in steps:
        steps = (*steps, move.step)
    rows = [row_for(trigger, here) for trigger in move.triggers]
    edges[at] = Edge(
        trigger=name,
        source=source,
        dest=dest,
        kind=move.kind,
        why=rows[0].why,
        undo=" + ".join(row.undo for row in reversed(rows) if row.undo),
        undo_why=rows[0].undo_why,
        steps=steps,
    )


def _table_order(at: tuple[str, str, str]) -> tuple[int, str, str]:
    """Edges of one pair in the order in which the tables declare their first trigger."""
    first = at[0].split(" + ")[0]
    owner = OWNER_OF[first]
    triggers = [row.trigger for row in TABLES[owner].all_rows()]
    return (list(TABLES).index(owner) * 1000 + triggers.index(first), at[1], at[2])


def _stability(vm_state: str, task_state: str | None) -> Stability:
    """A pair is as settled as the less settled of the two."""
    ours, theirs = vm.TABLE.state(vm_state).stability, task.TABLE.state(task_state).stability
    return Stability.TRANSIENT if theirs is Stability.TRANSIENT else ours
