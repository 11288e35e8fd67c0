"""The compact call diagram, and what a style or a depth shows."""

from __future__ import annotations

import json

from buildflow.diagrams import draw
from tests.diagrams.samples import long_flow, small_flow


def test_the_tree_has_a_line_for_everything() -> None:
    assert (
        draw("call", style="tree", flow=small_flow()).decode()
        == """\
whole
├── first
├── attempt
│   ├── retry: twice
│   ├── ports
│   │   ├── port:1
│   │   ├── port:2
│   │   └── port:10
│   └── disk
└── last
"""
    )


def test_depth_cuts_the_tree() -> None:
    drawn = draw("call", style="tree", flow=small_flow(), depth=1).decode().splitlines()

    assert drawn == ["whole", "├── first", "├── attempt", "└── last"]


def test_a_flow_that_no_document_shows_is_drawn_whole() -> None:
    drawn = draw("call", style="documented", flow=small_flow()).decode()

    assert "| port:10 |" in drawn
    assert drawn.count("|\n") == 10


def test_json_nests_as_the_calls_do() -> None:
    box = json.loads(draw("call", format="json", style="tree", flow=small_flow()))["box"]

    assert [call["text"] for call in box["calls"]] == ["first", "attempt", "last"]
    assert [call["text"] for call in box["calls"][1]["calls"]] == ["retry: twice", "ports", "disk"]


def test_three_hundred_steps_are_all_there() -> None:
    drawn = draw("call", style="tree", flow=long_flow(300)).decode()

    assert all(f" step:{number}\n" in drawn for number in range(300))
