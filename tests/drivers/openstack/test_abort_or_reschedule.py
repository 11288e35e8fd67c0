"""Nova's decisions on what only OpenStack can raise."""

from __future__ import annotations

import pytest

from buildflow.drivers.openstack.abort_or_reschedule import RULES, decide
from buildflow.drivers.openstack.error_table import (
    BindingFailed,
    NoAddressLeft,
    QuotaUsedUp,
    VolumeServiceError,
)
from buildflow.errors import DriverError


@pytest.mark.parametrize(
    ("error", "decision"),
    [
        (BindingFailed("x"), "reschedule"),
        (NoAddressLeft("x"), "abort"),
        (QuotaUsedUp("x"), "abort"),
        (VolumeServiceError("x"), "abort"),
        (DriverError("x"), None),
        (RuntimeError("x"), None),
    ],
)
def test_decisions(error: Exception, decision: str | None) -> None:
    assert decide(error) == decision


def test_each_rule_names_its_origin_and_its_reason() -> None:
    assert all(rule.nova and rule.why for rule in RULES)
