"""`doctor`: what the checks found, and an exit code that says whether machines can be built."""

from __future__ import annotations

import pytest

from buildflow.drivers.doctor import CheckResult
from tests.cli.conftest import Cli

FINE = CheckResult("qemu", "ok", "QEMU 7.2")
SLOW = CheckResult("kvm rights", "warn", "nobody may use it", "chgrp kvm /dev/kvm")
MISSING = CheckResult("qemu-img", "bad", "is not installed", "apt-get install qemu-utils")


@pytest.mark.parametrize(
    ("results", "code"), [([FINE], 0), ([FINE, SLOW], 0), ([SLOW, MISSING], 4), ([], 0)]
)
def test_the_exit_code_is_that_of_the_worst(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, results: list[CheckResult], code: int
) -> None:
    monkeypatch.setattr("buildflow.drivers.doctor.run_checks", lambda _settings: results)
    ran = cli("doctor")
    assert ran.code == code
    for result in results:
        assert f"{result.status} " in ran.out
        assert result.detail in ran.out
        assert not result.cure or f"cure: {result.cure}" in ran.out
    document = cli("--json", "doctor").document
    assert [row["name"] for row in document] == [result.name for result in results]
    assert all(set(row) == {"name", "status", "detail", "cure"} for row in document)
