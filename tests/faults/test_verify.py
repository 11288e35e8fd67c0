"""The proof: today's tables and flows hold, and each thing broken on purpose is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from taskflow.patterns import linear_flow

from buildflow.engine.complete import Complete
from buildflow.engine.step import Step
from buildflow.faults.product import Flaw, Laws, product_of
from buildflow.faults.shapes import shapes
from buildflow.faults.verify import Proof, machine_flaws, verify
from buildflow.flows.build import build_flow
from buildflow.states import TABLES, Row, Stability, State, Table, joint, power, task, vm
from buildflow.states.joint import JointRow
from buildflow.states.model import Kind

Tables = dict[str, Table[Any]]


@pytest.fixture(scope="module")
def proof() -> Proof:
    return verify(shapes())


def one_flow() -> dict[str, Any]:
    return {"build": build_flow(image="image", volumes=[{"id": "v"}], hosts=["a", "b"])}


def with_rows(name: str, change: Callable[[tuple[Row[Any], ...]], tuple[Row[Any], ...]]) -> Tables:
    return {**TABLES, name: replace(TABLES[name], rows=change(TABLES[name].rows))}


def without(name: str, *triggers: str) -> Tables:
    return with_rows(name, lambda rows: tuple(r for r in rows if r.trigger not in triggers))


def changed(name: str, trigger: str, /, **fields: Any) -> Tables:
    return with_rows(
        name,
        lambda rows: tuple(replace(r, **fields) if r.trigger == trigger else r for r in rows),
    )


def texts(flaws: list[Flaw]) -> str:
    return "\n".join(line for flaw in flaws for line in flaw.lines())


# --- what is there holds -------------------------------------------------------------------------


def test_the_real_tables_and_flows_have_no_flaw(proof: Proof) -> None:
    assert proof.flaws == [], texts(proof.flaws)


def test_every_legal_triple_is_reached_by_some_flow(proof: Proof) -> None:
    assert proof.reached == proof.triples == len(list(joint.triples()))


def test_the_product_is_counted_for_each_flow(proof: Proof) -> None:
    assert set(proof.product) == set(shapes())
    assert sum(proof.product.values()) > 5000
    for name in proof.product:
        assert proof.edges[name] > proof.product[name] > 0


def test_from_each_point_of_each_flow_there_is_a_way_to_an_end() -> None:
    import networkx as nx

    from buildflow.engine.fingerprint import atoms_of

    for flow in shapes().values():
        graph, _ = product_of("f", list(atoms_of(flow)))
        ends = {place for place in graph if place.ended}
        graph.add_edges_from((end, "end") for end in ends)
        assert set(graph) == {"end", *nx.ancestors(graph, "end")}


def test_a_failed_attempt_goes_on_on_another_host() -> None:
    graph, _ = product_of("f", _atoms(one_flow()["build"]))
    alone, _ = product_of("f", _atoms(build_flow(image="image", hosts=["a"])))

    def tried(graph: Any) -> bool:
        return any(told == "another host is tried" for _, _, told in graph.edges(data="told"))

    assert tried(graph)
    assert not tried(alone)


def _atoms(flow: Any) -> list[Any]:
    from buildflow.engine.fingerprint import atoms_of

    return list(atoms_of(flow))


# --- a machine broken on purpose -----------------------------------------------------------------


BROKEN_MACHINES = {
    "a state that nothing leads to": (
        without("task", "start_deleting"),
        "task: no transition leads to deleting",
    ),
    "a state that leads to nothing lasting": (
        without("vm", "delete_error"),
        "error leads to no state that lasts",
    ),
    "a way out of a terminal state": (
        with_rows(
            "vm",
            lambda rows: (
                *rows,
                Row("revive", vm.DELETED, vm.BUILDING, Kind.FORWARD, "no", undo_why="no"),
            ),
        ),
        "vm: deleted is terminal, and revive leads out of it",
    ),
    "one trigger of two machines": (
        changed("task", "give_up", trigger="fail"),
        "task: its trigger fail belongs to vm as well",
    ),
}


@pytest.mark.parametrize(("tables", "text"), BROKEN_MACHINES.values(), ids=BROKEN_MACHINES)
def test_a_broken_machine_is_found(tables: Tables, text: str) -> None:
    assert text in texts(verify({}, tables=tables).flaws)


def test_a_trap_is_shown_with_the_shortest_way_to_it() -> None:
    (flaw,) = machine_flaws("vm", without("vm", "delete_error")["vm"])
    assert flaw.path == ("building", "error")


def test_a_trap_far_away_is_shown_with_the_shortest_way_to_it() -> None:
    state = State("paused", Stability.TRANSIENT, "a trap")
    row = Row("pause", vm.ACTIVE, "paused", Kind.FORWARD, "into it", undo_why="none")
    table = replace(vm.TABLE, states=(*vm.TABLE.states, state), rows=(*vm.TABLE.rows, row))
    (flaw,) = machine_flaws("vm", table)
    assert flaw.path == ("building", "active", "paused")


# --- a transition, a triple, a trigger taken away ---


MISSING = [
    ("vm", "activate"), ("vm", "fail"), ("vm", "delete_building"), ("vm", "delete_active"),
    ("vm", "delete_error"), ("task", "start_building"), ("task", "start_networking"),
    ("task", "start_block_device_mapping"), ("task", "start_spawning"),
    ("task", "finish_spawning"), ("task", "give_up"), ("task", "start_deleting"),
    ("task", "finish_deleting"), ("power", "report_running"), ("power", "report_nostate"),
    ("power", "report_crashed"), ("power", "report_paused"), ("power", "report_shutdown"),
    ("power", "report_suspended"),
]  # fmt: skip


@pytest.mark.parametrize(("machine", "trigger"), MISSING)
def test_no_transition_can_be_done_without(machine: str, trigger: str) -> None:
    found = verify(one_flow(), tables=without(machine, trigger)).flaws
    assert found
    assert trigger in texts(found) or "no transition leads to" in texts(found)


@pytest.mark.parametrize(
    ("machine", "trigger"),
    [(name, row.trigger) for name in ("vm", "task") for row in TABLES[name].rows if row.undo],
)
def test_no_compensation_can_be_done_without(machine: str, trigger: str) -> None:
    tables = changed(machine, trigger, undo=None, undo_why="taken away")
    assert verify(one_flow(), tables=tables).flaws


def rows_without(vm_state: str, task_state: str | None) -> tuple[JointRow, ...]:
    return tuple(r for r in joint.TABLE if (r.vm_state, r.task_state) != (vm_state, task_state))


@pytest.mark.parametrize("row", joint.TABLE, ids=lambda r: f"{r.vm_state}-{r.task_state}")
def test_no_row_of_the_joint_table_can_be_done_without(row: JointRow) -> None:
    rows = tuple(each for each in joint.TABLE if each is not row)
    assert verify(one_flow(), rows=rows).flaws


@pytest.mark.parametrize("row", joint.TABLE, ids=lambda r: f"{r.vm_state}-{r.task_state}")
def test_no_power_state_of_it_can_be_done_without(row: JointRow) -> None:
    """But for those that a guest which could not be stopped may have in an error."""
    for value in row.power_states:
        less = replace(row, power_states=row.power_states - {value})
        rows = tuple(less if each is row else each for each in joint.TABLE)
        assert verify(one_flow(), rows=rows).flaws, (row, power.NAMES[value])


def test_the_way_to_an_illegal_triple_is_the_shortest() -> None:
    spawning = next(r for r in joint.TABLE if r.task_state == task.SPAWNING)
    less = replace(spawning, power_states=spawning.power_states - {power.CRASHED})
    rows = tuple(less if each is spawning else each for each in joint.TABLE)
    flaws = [f for f in verify(one_flow(), rows=rows).flaws if "report_crashed" in f.text]
    flow = [step for step in _atoms(one_flow()["build"]) if isinstance(step, Step)]
    start = next(i for i, step in enumerate(flow) if step.kind == "guest")
    # each step before it is begun, done, over; then the guest's own begin and done
    shortest = start * 3 + 2
    assert min(len(flaw.path) for flaw in flaws) == shortest
    assert flaws[0].path[0].startswith("_prebuild_instance: begun -> building/")


def test_a_joint_row_that_names_no_state() -> None:
    rows = (*joint.TABLE, JointRow("sleeping", None, frozenset({9}), "a mistake"))
    text = texts(verify({}, rows=rows).flaws)
    assert "joint: sleeping is no state of vm" in text
    assert "joint: 9 is no state of power" in text


def test_a_start_that_is_not_legal() -> None:
    rows = rows_without(vm.BUILDING, task.SCHEDULING)
    assert "joint: the start building/scheduling/NOSTATE is not legal" in texts(
        verify({}, rows=rows).flaws
    )


# --- a flow broken on purpose --------------------------------------------------------------------


class Made(Step):
    """Makes something."""

    kind = "thing"

    def facts(self) -> dict[str, Any]:
        return {}

    def find(self, key: str, facts: dict[str, Any]) -> str | None:
        return None

    def create(self, key: str, facts: dict[str, Any]) -> str:
        return key

    def delete(self, key: str, facts: dict[str, Any]) -> None:
        """Removes it."""


class Guest(Made):
    """Makes a guest."""

    kind = "guest"


class Waits(Made):
    """Is undone after a thing that is made before it."""

    kind = "other"
    undo_after = ("thing",)


class InACircle(Made):
    """Is undone after itself, by way of another."""

    kind = "thing"
    undo_after = ("other",)


class Silent(Step):
    """Says what it needs no undo for, until the test takes that away."""

    no_undo = "for now"

    def perform(self) -> None:
        """Nothing."""


def flow(*steps: Step) -> dict[str, Any]:
    return {"mine": linear_flow.Flow("mine").add(*steps)}


def built(*steps: Step) -> dict[str, Any]:
    """Steps between the right beginning and the right end."""
    return flow(
        Silent("begin", on_start=("start_building",)),
        Silent("net", on_start=("start_networking",)),
        Silent("disks", on_start=("start_block_device_mapping",)),
        Silent("spawn", on_start=("start_spawning",)),
        *steps,
        Complete("finish", triggers=("activate", "finish_spawning")),
    )


def test_such_a_flow_is_sound_as_it_is() -> None:
    assert verify(built(Made("thing"), Guest("guest"))).flaws == []


def undeclared() -> Step:
    step = Silent("silent")
    step.no_undo = ""  # type: ignore[misc]
    return step


BROKEN_FLOWS = {
    "a trigger that no machine has": (
        flow(Silent("begin", on_start=("start_bilding",))),
        "step begin: no machine has the trigger start_bilding",
    ),
    "a step without its undo": (
        built(undeclared()),
        "step silent: declares no undo and no reason for none",
    ),
    "undos that wait for each other": (
        built(InACircle("a"), Waits("b")),
        "undos wait for each other",
    ),
    "an undo that waits for what was made before it": (
        built(Made("thing"), Waits("later")),
        "step later: its undo waits for a thing, which is made before it",
    ),
    "a trigger out of turn": (
        flow(
            Silent("begin", on_start=("start_building",)),
            Silent("s", on_start=("start_spawning",)),
        ),
        "start_spawning",
    ),
    "a guest too early": (
        flow(Silent("begin", on_start=("start_building",)), Guest("guest"), Complete("finish")),
        "building, none, RUNNING",
    ),
    "an end that is none": (
        flow(
            Silent("begin", on_start=("start_building",)),
            Complete("finish", triggers=("finish_spawning",)),
        ),
        "finish_spawning",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("flows", "text"), BROKEN_FLOWS.values(), ids=BROKEN_FLOWS)
def test_a_broken_flow_is_found(flows: dict[str, Any], text: str) -> None:
    found = texts(verify(flows).flaws)
    if text == "building, none, RUNNING":
        assert "joint" in found
        assert "guest: begun" in found
        return
    assert text in found


def test_an_illegal_trigger_comes_with_the_way_to_it() -> None:
    laws = Laws()
    steps = [
        Silent("one", on_start=("start_building",)),
        Silent("two"),
        Silent("three", on_start=("start_spawning",)),
    ]
    _, flaws = product_of("mine", steps, laws)
    flaw = next(each for each in flaws if "start_spawning" in each.text)
    assert [line.split(" -> ")[0] for line in flaw.path] == [
        "one: begun", "one: done", "one: over", "two: begun", "two: done", "two: over",
    ]  # fmt: skip
