"""From what was typed to Settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildflow.cli.settings import check_store_url, settings_from
from buildflow.errors import BadInput


def test_a_relative_home_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings_from(Path("here"), {}).home == tmp_path / "here"


def test_the_home_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILDFLOW_HOME", str(tmp_path))
    assert settings_from(None, {}).home == tmp_path


def test_what_was_not_typed_keeps_its_default() -> None:
    made = settings_from(Path("/x"), {"connect": None, "volume_api": "legacy"})
    assert (made.connect, made.volume_api, made.volume_attach) == (None, "legacy", "auto")


@pytest.mark.parametrize(
    ("name", "value"), [("volume_api", "v9"), ("volume_attach", "tape"), ("virt_type", "xen")]
)
def test_an_unknown_choice(name: str, value: str) -> None:
    with pytest.raises(BadInput, match=f"{value!r} is unknown: use "):
        settings_from(Path("/x"), {name: value})


def test_a_store_of_an_unknown_kind() -> None:
    with pytest.raises(BadInput, match="sqlite:////DIR/FILE"):
        check_store_url("nosuch://user:secret@host/db")
    check_store_url("sqlite:////tmp/x.sqlite")
