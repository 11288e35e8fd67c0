"""`diagram` and `report`: every picture in every format, to stdout or a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

KINDS = ("call", "flow", "states", "timeline")


@pytest.mark.parametrize("format", ["text", "mermaid", "dot", "svg", "json"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_picture(cli: Cli, kind: str, format: str) -> None:
    ran = cli("diagram", kind, "--format", format)
    assert ran.code == 0, ran.err
    assert ran.out.strip()
    if format == "json":
        json.loads(ran.out)


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_of_a_build(build: Cli, cli: Cli, kind: str) -> None:
    build("vm1", "--inject", "wait_for_boot")
    plain = cli("diagram", kind).out
    ran = cli("diagram", kind, "--build", "vm1")
    assert ran.code == 0, ran.err
    assert ran.out != plain


def test_the_call_diagram_shows_the_documented_boxes_in_order(cli: Cli) -> None:
    out = cli("diagram", "call").out
    boxes = [
        "buildinstance", "_prebuild_instance", "_build_instance",
        "network_info = self._allocate_network",
        "block_device_info = self._prep_block_device", "instance = self._spawn",
        "self.driver.spawn", "_create_image", "to_xml", "_create_domain_and_network",
        "Wait for boot",
    ]  # fmt: skip
    places = [out.index(f"| {box}") for box in boxes]
    assert places == sorted(places)
    assert out.count("| ") > len(boxes)


def test_styles_and_depth(cli: Cli) -> None:
    assert "root disk" not in cli("diagram", "call").out
    assert "root disk" in cli("diagram", "call", "--depth", "1").out
    assert "└── finish" in cli("diagram", "call", "--style", "tree").out


@pytest.mark.parametrize("machine", ["vm", "task", "power", "joint"])
def test_one_machine(cli: Cli, machine: str) -> None:
    assert cli("diagram", "states", machine).out.startswith(machine)


def test_a_file_whose_ending_says_the_format(cli: Cli, tmp_path: Path) -> None:
    picture = tmp_path / "call.svg"
    ran = cli("diagram", "call", "-o", str(picture))
    assert (ran.code, ran.out) == (0, "")
    assert "<svg " in picture.read_text()


def test_json_and_a_file(cli: Cli, tmp_path: Path) -> None:
    picture = tmp_path / "call.dot"
    ran = cli("--json", "diagram", "call", "-o", str(picture))
    assert ran.document == {
        "file": str(picture), "format": "dot", "bytes": picture.stat().st_size,
    }  # fmt: skip


def test_a_flow_of_your_own(cli: Cli) -> None:
    ran = cli("diagram", "call", "--flow", "buildflow.flows.build:build_flow")
    assert "buildinstance" in ran.out


def test_report(build: Cli, cli: Cli, tmp_path: Path) -> None:
    build("vm1")
    page = tmp_path / "vm1.html"
    ran = cli("report", "vm1", "-o", str(page))
    assert (ran.code, ran.out) == (0, "")
    assert "vm1" in page.read_text()
    assert cli("--json", "report", "vm1").document["html"].startswith("<!doctype html>")


def test_snapshot_and_diff(cli: Cli, tmp_path: Path) -> None:
    saved = tmp_path / "now.json"
    assert cli("diagram", "snapshot", "-o", str(saved)).code == 0
    ran = cli("diagram", "diff", str(saved), str(saved))
    assert "nothing differs" in ran.out
    assert cli("--json", "diagram", "diff", str(saved), str(saved)).document["changes"] == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("call", "--style", "baroque"), "choose one of documented, tree"),
        (("call", "--format", "gif"), "choose one of text"),
        (("call", "--depth", "-1"), "depth"),
        (("states", "soul"), "choose one of vm, task, power, joint"),
        (("call", "--build", "none"), "no build has the id or name 'none'"),
        (("call", "--flow", "nowhere:none"), "names no flow"),
        (("call", "--build", "x", "--flow", "y:z"), "give --build or --flow, not both"),
        (("call", "--json", "--format", "svg"), "contradict each other"),
        (("call", "-o", "/nowhere/at/all.svg"), "can't write /nowhere/at/all.svg"),
        (("diff", "/none.json", "/none.json"), "none.json"),
    ],
)
def test_bad_input(cli: Cli, words: tuple[str, ...], told: str) -> None:
    ran = cli("diagram", *words)
    assert ran.code == 2, ran.err
    assert told in ran.err
    assert len(ran.err.splitlines()) == 1
