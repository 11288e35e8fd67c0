"""The manual's pictures are those that would be drawn now."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildflow.diagrams import manual

ROOT = Path(__file__).resolve().parents[2]


def test_the_committed_pictures_are_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    assert manual.main(["--check"]) == 0, f"run `make diagrams`: {capsys.readouterr().err}"


def test_an_old_picture_and_a_strange_one_are_told(tmp_path: Path) -> None:
    for name, picture in manual.pictures():
        (tmp_path / name).write_bytes(picture())
    assert manual.stale(tmp_path) == []
    (tmp_path / "call.txt").write_text("old", encoding="utf-8")
    (tmp_path / "strange.svg").write_text("", encoding="utf-8")
    (tmp_path / "flow.mmd").unlink()
    assert manual.stale(tmp_path) == ["call.txt", "flow.mmd", "strange.svg"]


def test_every_picture_that_the_manual_shows_is_there() -> None:
    import re

    for page in ROOT.glob("docs/*.md"):
        for name in re.findall(r"\]\((pictures/[^)]+)\)", page.read_text(encoding="utf-8")):
            assert (ROOT / "docs" / name).is_file(), f"{page.name} shows {name}"


def test_the_pages_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    import re

    page = (ROOT / "docs" / "diagrams.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "docs/diagrams.md", "exec"), {})
    assert "├── _prebuild_instance" in capsys.readouterr().out


def test_the_page_tells_of_every_kind_of_picture() -> None:
    from buildflow.diagrams import KINDS, MACHINES, Format

    page = (ROOT / "docs" / "diagrams.md").read_text(encoding="utf-8")
    for kind in KINDS:
        assert f"`buildflow diagram {kind}" in page
    for word in (*MACHINES, *Format):
        assert word in page
