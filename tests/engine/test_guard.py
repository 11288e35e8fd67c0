"""The guard's table, walked in full and at random: what has ended is never begun again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from buildflow.engine.guard import TABLE, Decision, Intention, decide
from buildflow.engine.store import ENDED, STATUSES
from buildflow.states import joint

STOPS = (None, "cancelled", "deleted", "interrupted", "deadline")
TRIPLES = list(joint.triples())

rows = st.builds(
    lambda status, stop, triple: {
        "status": status, "stop": stop, "vm_state": triple and triple[0],
        "task_state": triple and triple[1],
    },
    st.sampled_from(STATUSES),
    st.sampled_from(STOPS),
    st.one_of(st.none(), st.sampled_from(TRIPLES)),
)  # fmt: skip
intentions = st.sampled_from(list(Intention))


def test_a_cleanup_that_was_cut_off_goes_on_as_one() -> None:
    row = {"status": "rolling_back", "stop": None, "vm_state": "error", "task_state": None}
    for wanted in Intention:
        assert decide({**row, "finished_at": "2026-01-01T00:00:00Z"}, wanted) is Decision.SWEEP
        assert decide({**row, "finished_at": None}, wanted) is Decision.BACK


def test_every_case_is_decided() -> None:
    assert set(TABLE) == {(status, wanted) for status in STATUSES for wanted in Intention}


@given(rows, intentions)
def test_what_has_ended_never_goes_forward(row: dict[str, str | None], wanted: Intention) -> None:
    if row["status"] in ENDED or row["status"] == "rolling_back":
        assert decide(row, wanted) is not Decision.FORWARD


@given(rows, intentions)
def test_only_a_run_without_a_stop_goes_forward(
    row: dict[str, str | None], wanted: Intention
) -> None:
    forward = decide(row, wanted) is Decision.FORWARD
    assert forward == (
        row["status"] in ("queued", "running") and wanted is Intention.RUN and row["stop"] is None
    )


@given(rows)
def test_a_resume_of_what_has_ended_does_nothing(row: dict[str, str | None]) -> None:
    if row["status"] in ENDED:
        assert decide(row, Intention.RUN) is Decision.NOTHING
        assert decide(row, Intention.REVERT) is Decision.NOTHING


@given(rows)
def test_a_delete_is_refused_only_where_nothing_is_left(row: dict[str, str | None]) -> None:
    if decide(row, Intention.DELETE) is Decision.NOTHING:
        assert row["status"] == "rolled_back"
        assert row["vm_state"] in (None, "deleted")


@given(rows)
def test_a_complete_build_is_only_taken_apart_by_a_delete(row: dict[str, str | None]) -> None:
    if row["status"] == "complete":
        assert {w for w in Intention if decide(row, w) is not Decision.NOTHING} == {
            Intention.DELETE
        }
