"""Every mistake of the table is found by the kit, shrunk, replayed from its token, and is why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.planted import __main__ as command
from tests.faults.planted.mistake import Mistake
from tests.faults.planted.nursery import Nursery
from tests.faults.planted.planting import NotPlantedError, change
from tests.faults.planted.proof import prove
from tests.faults.planted.table import MISTAKES

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
BY_NAME = {mistake.name: mistake for mistake in MISTAKES}


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """One for all tests of a process."""
    with Nursery() as found:
        yield found


def _like(mistake: Mistake, *, old: str, new: str) -> Mistake:
    return Mistake(
        "another", mistake.sort, "only for this test", mistake.module, old, new, mistake.scene
    )


@pytest.mark.parametrize("name", list(BY_NAME))
def test_is_found(name: str, nursery: Nursery) -> None:
    finding = prove(BY_NAME[name], nursery)
    told = "\n".join([name, *finding.story, *finding.errors])
    assert finding.found, told
    assert finding.rules, told
    assert finding.faults <= 2, told
    assert len(finding.token) <= 80, told
    assert finding.replayed, told
    assert finding.clean, told


def test_there_are_enough_of_them() -> None:
    assert len(BY_NAME) == len(MISTAKES)
    assert len(MISTAKES) >= 50
    assert len({mistake.module for mistake in MISTAKES}) >= 15


def test_a_harmless_change_is_not_found(nursery: Nursery) -> None:
    real = BY_NAME["guest-not-destroyed"]
    finding = prove(_like(real, old=real.old, new=f"{real.old}        # destroyed\n"), nursery)
    assert not finding.errors
    assert not finding.found
    assert finding.scenarios > 300


def test_a_row_whose_text_is_not_there_is_an_error(nursery: Nursery) -> None:
    finding = prove(_like(BY_NAME["guest-not-destroyed"], old="not in it\n", new=""), nursery)
    assert not finding.found
    assert "its old text is 0 times in buildflow.flows.domain" in finding.errors[0]
    with pytest.raises(NotPlantedError, match="2 times"):
        change("twice twice", _like(BY_NAME["guest-not-destroyed"], old="twice", new=""))


def test_the_command_ends_with_1_when_one_is_missed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = BY_NAME["guest-not-destroyed"]
    harmless = _like(real, old=real.old, new=f"{real.old}        # destroyed\n")
    monkeypatch.setattr(command, "MISTAKES", (real, harmless))
    assert command.main(["--only", real.name]) == 0
    assert "planted faults: 1 of 1 found" in capsys.readouterr().out
    assert command.main([]) == 1
    assert "planted faults: 1 of 2 found" in capsys.readouterr().out


def test_the_checkout_is_never_edited(nursery: Nursery) -> None:
    real = BY_NAME["guest-not-destroyed"]
    file = REPOSITORY / "flows" / "domain.py"
    before = file.read_bytes()
    assert prove(real, nursery).found
    assert file.read_bytes() == before
    cached = (REPOSITORY / "flows" / "__pycache__").glob("domain.*.pyc")
    assert all(b"destroy_domain" in each.read_bytes() for each in cached)
