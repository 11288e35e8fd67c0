"""Pictures in Markdown, and the Sphinx directive."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from buildflow.diagrams.embedding import main, refreshed
from buildflow.errors import BadInput

PLACE = """# A page

<!-- buildflow: flow flow=tests.diagrams.samples:small_flow -->
<!-- /buildflow -->

after
"""


def test_a_marked_place_is_filled_and_stays_as_it_is() -> None:
    filled = refreshed(PLACE)

    assert "```mermaid\nflowchart TB\n" in filled
    assert filled.startswith("# A page\n\n<!-- buildflow: flow")
    assert filled.endswith("```\n<!-- /buildflow -->\n\nafter\n")
    assert refreshed(filled) == filled
    assert "%%" not in filled  # what it could be read back with is no reader's business


def test_options_are_those_of_draw() -> None:
    place = "<!-- buildflow: call format=text style=tree depth=1 -->\nold\n<!-- /buildflow -->\n"

    assert "├── _prebuild_instance\n" in refreshed(place)
    assert "old" not in refreshed(place)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("flow colour=red", "'colour=red' is none of format="),
        ("flow format=svg", "svg can't stand in Markdown"),
        ("cal", "no diagram is called 'cal'"),
    ],
)
def test_words_that_it_cannot_follow(words: str, why: str) -> None:
    with pytest.raises(BadInput) as caught:
        refreshed(f"<!-- buildflow: {words} -->\n<!-- /buildflow -->\n")
    assert why in str(caught.value)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(PLACE, encoding="utf-8")

    assert main(["--check", str(page)]) == 1
    assert page.read_text(encoding="utf-8") == PLACE
    assert main([str(page)]) == 0
    assert "flowchart TB" in page.read_text(encoding="utf-8")
    assert main(["--check", str(page)]) == 0
    capsys.readouterr()
    assert main([str(tmp_path / "nowhere.md")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "conf.py").write_text('extensions = ["buildflow.diagrams.directive"]\n')
    (tmp_path / "index.rst").write_text(
        "Title\n=====\n\n"
        ".. buildflow:: flow\n   :flow: tests.diagrams.samples:small_flow\n\n"
        ".. buildflow:: states\n   :machine: vm\n   :text:\n"
    )
    return tmp_path


def build_pages(project: Path, builder: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "sphinx",
            "-q",
            "-b",
            builder,
            str(project),
            str(project / builder),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parents[2],
        env={
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
            "PATH": "",
            "HOME": str(project),
        },
        timeout=120,
    )


def test_the_directive_draws_in_html_and_writes_in_text(project: Path) -> None:
    pytest.importorskip("sphinx")
    done = build_pages(project, "html")
    page = (project / "html" / "index.html").read_text(encoding="utf-8")

    assert done.stderr == ""
    assert page.count("<svg ") == 1
    assert "max-width:100%;min-width:" in page  # it shrinks with its column
    assert "port:10" in page
    assert "==&gt;  active" in page
    done = build_pages(project, "text")
    text = (project / "text" / "index.txt").read_text(encoding="utf-8")
    assert done.stderr == ""
    assert "port:10" in text
    assert "The way back" in text


def test_a_page_that_cannot_be_drawn_says_why_on_one_line(project: Path) -> None:
    pytest.importorskip("sphinx")
    (project / "index.rst").write_text("T\n=\n\n.. buildflow:: flow\n   :flow: nowhere\n")

    assert "'nowhere' names no flow" in build_pages(project, "html").stderr
