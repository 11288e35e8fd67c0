"""State charts: what is read out of the tables, and how it is written as text."""

from __future__ import annotations

import json
import re

import pytest

from buildflow.diagrams import draw
from buildflow.diagrams.extract import extract_flow, extract_joint, extract_machine
from buildflow.diagrams.model import FlowModel
from buildflow.errors import DefinitionError
from buildflow.flows.build import build_flow
from buildflow.states import TABLES, Kind, joint
from buildflow.states.machine import label
from tests.diagrams.samples import door


@pytest.fixture(scope="module")
def flow() -> FlowModel:
    return extract_flow(build_flow())


@pytest.mark.parametrize("name", TABLES)
def test_every_row_of_a_table_is_an_edge(name: str, flow: FlowModel) -> None:
    table = TABLES[name]
    drawn = {(e.trigger, e.source, e.dest, e.kind) for e in extract_machine(table, flow).edges}

    assert drawn == {(r.trigger, label(r.source), label(r.dest), r.kind) for r in table.all_rows()}


def test_every_edge_names_what_fires_it(flow: FlowModel) -> None:
    for table in TABLES.values():
        for edge in extract_machine(table, flow).edges:
            assert edge.steps, edge


def test_a_step_that_moves_a_state_is_on_the_edge_and_its_undo_on_the_way_back(
    flow: FlowModel,
) -> None:
    edges = {e.trigger: e for e in extract_machine(TABLES["task"], flow).edges}

    assert edges["start_networking"].steps == ("networking",)
    assert edges["leave_networking"].steps == ("undo of networking",)
    assert edges["give_up"].steps == ("end of the rollback",)


def test_the_path_is_the_one_that_the_document_describes(flow: FlowModel) -> None:
    path = [(m.state, m.value) for m in extract_joint(flow).path]

    assert path == [
        ("building / scheduling", "NOSTATE"),
        ("building / none", "NOSTATE"),
        ("building / networking", "NOSTATE"),
        ("building / block_device_mapping", "NOSTATE"),
        ("building / spawning", "NOSTATE"),
        ("building / spawning", "RUNNING"),
        ("active / none", "RUNNING"),
    ]
    assert extract_joint(flow).path[2].box == "network_info = self._allocate_network"


def test_only_legal_triples_are_reached_and_all_of_them(flow: FlowModel) -> None:
    """The joint table allows what builds come to, and nothing that no build comes to."""
    drawn = {(s.key, value) for s in extract_joint(flow).states for value in s.values}
    legal = {(f"{label(vm)} / {label(task)}", label(power)) for vm, task, power in joint.triples()}

    assert drawn == legal
    assert not any(s.unreached for s in extract_joint(flow).states)


def test_nothing_leads_out_of_the_end(flow: FlowModel) -> None:
    assert extract_joint(flow).leaving["deleted / none"] == ()


def test_an_illegal_flow_has_no_chart() -> None:
    """A flow whose triggers the tables refuse can't run, so it is not drawn as if it could."""
    from taskflow.patterns import linear_flow

    from buildflow.flows.steps import Enter

    wrong = linear_flow.Flow("wrong").add(Enter("spawn first", on_start=("start_spawning",)))
    with pytest.raises(
        DefinitionError, match="'spawn first' of flow 'wrong' makes an illegal move"
    ):
        draw("states", machine="joint", flow=wrong)


def test_a_table_of_the_users_own() -> None:
    text = draw("states", machine=door()).decode()

    assert "[shut] stable, first: nobody gets in" in text
    assert re.search(r"==>  open\s+push\s+walked back by pull", text)
    assert re.search(r"-\.-> shut\s+pull", text)
    assert "[[gone]] terminal" in text


def test_kinds_and_stabilities_do_not_look_alike() -> None:
    from buildflow.diagrams.theme import EDGES, STATES

    assert len({look.arrow for look in EDGES.values()}) == len(Kind)
    assert len({(look.dash, look.head, look.width) for look in EDGES.values()}) == len(Kind)
    assert len({look.marks for look in STATES.values()}) == len(STATES)
    assert len({look.outline for look in STATES.values()}) == len(STATES)


def test_a_trigger_from_everywhere_is_drawn_once() -> None:
    text = draw("states", machine="power").decode()

    assert text.count("report_crashed") == 1
    edges = json.loads(draw("states", machine="power", format="json"))["edges"]
    assert sum(e["trigger"] == "report_crashed" for e in edges) == 5


def test_all_machines_at_once() -> None:
    for written in ("text", "mermaid", "dot", "svg", "json"):
        whole = draw("states", format=written).decode()
        assert all(word in whole for word in ("activate", "start_networking", "report_paused"))
