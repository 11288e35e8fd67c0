"""Tokens: short, replayed as what they were made from, and refused by another version."""

from __future__ import annotations

from typing import Any

import pytest

from buildflow.errors import BadInput
from buildflow.faults.kinds import KINDS
from buildflow.faults.own_flow import OwnFlowScene
from buildflow.faults.plan import TOKEN_MAX, Fault, make_token, read_token
from buildflow.faults.play import play, reference_of, replay, token_of
from buildflow.faults.shrink import shrink, story
from buildflow.faults.testing import explore
from tests.faults.orders import Shop, forgetful_flow, order_flow


def forgetful() -> OwnFlowScene:
    """A flow whose charge is never refunded."""
    return OwnFlowScene(forgetful_flow, Shop, name="orders")


def test_a_token_holds_ten_faults_in_eighty_characters() -> None:
    faults = tuple(
        Fault("er", index, f"a_step_with_quite_a_long_name_{index}:execute") for index in range(10)
    )
    token = make_token("build-1n2v-bfv-made-2hosts", faults)
    assert len(token) <= TOKEN_MAX
    read = read_token(token)
    assert read.scene == "build-1n2v-bfv-made-2hosts"
    assert [(f.index, f.code) for f in read.faults] == [(f.index, f.code) for f in faults]


def test_too_many_faults_for_a_token_are_refused() -> None:
    faults = tuple(Fault("er", index, "x:execute") for index in range(40))
    with pytest.raises(BadInput, match="do not fit"):
        make_token("build-1n2v", faults)


@pytest.mark.parametrize("text", ["", "b1", "b0.x.AAAA.0000", "b1.x.AAA.0000", "b1.x.AAD_.0000"])
def test_what_is_no_token_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(BadInput) as refused:
        read_token(text)
    assert "\n" not in str(refused.value)


def test_codes_of_kinds_are_two_letters_and_differ() -> None:
    codes = [kind.code for kind in KINDS]
    assert len(set(codes)) == len(codes)
    assert all(len(code) == 2 for code in codes)
    assert len({kind.name for kind in KINDS}) == len(codes)


def test_a_failing_plan_is_shrunk_told_and_replayed_on_another_scene() -> None:
    scene = forgetful()
    reference = reference_of(scene)
    # slow is no reason for it: it goes when the plan is shrunk
    plan = (
        Fault("sl", None, "reserve/world.put:before"),
        Fault("er", None, "ship:execute"),
    )
    failing = play(scene, reference, plan)
    assert failing.violations
    small = shrink(scene, reference, failing)
    assert [f.code for f in small.faults] == ["er"]
    token = token_of(scene, small)
    assert token in "\n".join(story(small, token))

    elsewhere = forgetful()
    again = replay(elsewhere, reference_of(elsewhere), read_token(token))
    assert (again.outcome, again.violations) == (small.outcome, small.violations)


def test_a_token_of_another_flow_is_refused_and_not_replayed_as_something_else() -> None:
    scene = forgetful()
    reference = reference_of(scene)
    token = token_of(scene, play(scene, reference, (Fault("er", None, "ship:execute"),)))
    other = OwnFlowScene(_shorter_flow, Shop, name="orders")
    with pytest.raises(BadInput, match="another version"):
        replay(other, reference_of(other), read_token(token))


def test_a_flow_without_flaws_has_none_and_the_forgetful_one_is_found() -> None:
    assert explore(OwnFlowScene(order_flow, Shop, name="orders"), workers=1).failing == []
    found = explore(forgetful(), workers=1).failing
    assert {rule for scenario in found for rule in scenario.rules} >= {"gone"}


def _shorter_flow() -> Any:
    from taskflow.patterns import linear_flow

    from tests.faults.orders import Ship

    return linear_flow.Flow("order").add(Ship("ship"))
