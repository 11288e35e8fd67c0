"""The state tables under random walks: nothing illegal is reached, a refusal changes nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildflow.errors import DefinitionError, InvalidTransition
from buildflow.states import InstanceStates, apply, joint, power
from buildflow.states.machine import OWNER_OF, TABLES
from buildflow.states.model import Kind

TRIGGERS = sorted(OWNER_OF)
triples = st.sampled_from(list(joint.triples())).map(lambda t: InstanceStates(*t))


@given(triples, st.lists(st.sampled_from(TRIGGERS), min_size=1, max_size=3))
def test_a_move_is_legal_or_refused(states: InstanceStates, triggers: list[str]) -> None:
    before = states.triple
    try:
        after = apply(states, triggers)
    except InvalidTransition:
        assert states.triple == before
        return
    assert joint.find(*after.triple) is not None
    assert states.triple == before, "a move never changes what it is given"


@settings(max_examples=300)
@given(st.lists(st.sampled_from(TRIGGERS), max_size=40))
def test_no_walk_leaves_the_joint_table(triggers: list[str]) -> None:
    states = InstanceStates()
    for trigger in triggers:
        try:
            states = apply(states, (trigger,))
        except InvalidTransition:
            continue
        assert joint.find(*states.triple) is not None


@given(triples)
def test_what_is_deleted_stays_deleted(states: InstanceStates) -> None:
    if states.vm_state != "deleted":
        return
    for trigger in TRIGGERS:
        if OWNER_OF[trigger] == "vm":
            with pytest.raises(InvalidTransition):
                apply(states, (trigger,))


@pytest.mark.parametrize("machine", TABLES)
def test_each_undo_walks_its_trigger_back(machine: str) -> None:
    table = TABLES[machine]
    for row in table.rows:
        if row.undo is not None:
            back = table.find(row.undo, row.dest)
            assert back is not None
            assert (back.dest, back.kind) == (row.source, Kind.COMPENSATING)


def test_a_delete_is_legal_from_every_state_that_is_not_deleted() -> None:
    for triple in joint.triples():
        vm_state, task_state, _ = triple
        if vm_state != "deleted" and task_state != "deleting":
            states = apply(InstanceStates(*triple), ("start_deleting",))
            ended = apply(states, (*_off(states), f"delete_{vm_state}", "finish_deleting"))
            assert ended.triple == ("deleted", None, power.NOSTATE)


def test_a_build_walks_there_and_back() -> None:
    there = ("start_building", "start_networking", "start_block_device_mapping", "start_spawning")
    back = (
        "leave_spawning", "leave_block_device_mapping", "leave_networking", "return_to_scheduling",
    )  # fmt: skip
    states = InstanceStates()
    for trigger in (*there, *back):
        states = apply(states, (trigger,))
    assert states == InstanceStates()


def test_an_unknown_trigger_is_a_mistake_of_the_flow() -> None:
    with pytest.raises(DefinitionError):
        apply(InstanceStates(), ("no_such_trigger",))


def _off(states: InstanceStates) -> tuple[str, ...]:
    return () if states.power_state == power.NOSTATE else (power.report_trigger(power.NOSTATE),)
