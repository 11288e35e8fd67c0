"""`draw` itself: its formats, its errors, and what needs no binary."""

from __future__ import annotations

import builtins
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from buildflow.diagrams import KINDS, draw, save
from buildflow.errors import BadInput, DefinitionError, HostUnusable
from tests.diagrams.samples import broken_flow

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("kind", KINDS)
def test_png_is_a_picture_as_large_as_the_svg_twice(kind: str) -> None:
    from lxml import etree

    png, svg = draw(kind, format="png"), etree.fromstring(draw(kind, format="svg"))
    width = int.from_bytes(png[16:20], "big")

    assert png.startswith(PNG)
    assert abs(width - 2 * float(str(svg.get("width")))) <= 2
    assert len(png) > 5000


def test_png_without_its_library_is_told_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name == "resvg_py":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(HostUnusable, match="pip install resvg-py") as caught:
        draw("call", format="png")
    assert caught.value.exit_code == 4
    assert draw("call", format="svg").startswith(b"<?xml")


@pytest.mark.parametrize("kind", KINDS)
def test_no_format_but_png_needs_anything_of_the_host(kind: str) -> None:
    """With an empty PATH, so that no binary can be found."""
    program = f"""
from buildflow.diagrams import draw
for format in ("text", "mermaid", "dot", "json", "svg"):
    assert draw({kind!r}, format=format)
"""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=root,
        env={"PATH": "", "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("kind", "options", "why"),
    [
        ("cal", {}, "no diagram is called 'cal': choose one of call, flow, states, timeline"),
        ("call", {"format": "pdf"}, "no format is called 'pdf': choose one of text, mermaid, dot"),
        ("call", {"style": "fancy"}, "no style is called 'fancy': choose one of documented, tree"),
        ("call", {"depth": -1}, "depth is -1: give 0 or more"),
        ("states", {"machine": "door"}, "no machine is called 'door': choose one of vm, task"),
        ("flow", {"depth": 1, "format": "svg"}, "depth limits the text of a flow only"),
        ("flow", {"flow": "nowhere"}, "'nowhere' names no flow"),
    ],
)
def test_bad_input_is_told_on_one_line(kind: str, options: dict[str, Any], why: str) -> None:
    with pytest.raises(BadInput) as caught:
        draw(kind, **options)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["call", "flow", "timeline", "states"])
def test_a_flow_that_does_not_compile(kind: str) -> None:
    with pytest.raises(DefinitionError, match="does not compile") as caught:
        draw(kind, flow=broken_flow())
    assert caught.value.exit_code == 2


def test_saving(tmp_path: Path) -> None:
    save(b"x", tmp_path / "there")
    assert (tmp_path / "there").read_bytes() == b"x"
    with pytest.raises(BadInput, match=r"can't write .*: No such file or directory"):
        save(b"x", tmp_path / "nowhere" / "there")
    with pytest.raises(BadInput, match="Is a directory"):
        save(b"x", tmp_path)


def test_a_flow_is_named_by_its_factory() -> None:
    assert b"port:10" in draw("call", flow="tests.diagrams.samples:small_flow", style="tree")


@pytest.mark.parametrize("kind", KINDS)
def test_json_is_one_document(kind: str) -> None:
    data = json.loads(draw(kind, format="json"))
    assert data["version"] == 1
    assert data["kind"] in ("call", "flow", "machines", "timeline")


def test_the_public_names() -> None:
    import buildflow.diagrams as diagrams

    assert list(diagrams.__all__) == [
        "KINDS", "MACHINES", "Format", "Style", "diff", "draw", "report", "save",
    ]  # fmt: skip


def test_the_bare_name_is_refused() -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", "import diagrams"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "import buildflow.diagrams, not diagrams" in done.stderr
