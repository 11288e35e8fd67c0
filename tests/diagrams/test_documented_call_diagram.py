"""The documented picture, parsed, against what the build flow draws."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildflow.diagrams import draw
from tests.diagrams.ascii_picture import Box, read_picture

HERE = Path(__file__).parent

# the document's own slip: a line of its picture runs through the name
SLIPS = {
    "block_de|ice_info = self._prep_block_device": "block_device_info = self._prep_block_device"
}


@pytest.fixture(scope="module")
def documented() -> list[Box]:
    boxes = read_picture((HERE / "documented_call_diagram.txt").read_text(encoding="utf-8"))
    return [
        Box(SLIPS.get(b.label, b.label), b.parent and SLIPS.get(b.parent, b.parent)) for b in boxes
    ]


def test_the_documented_picture_is_read_whole(documented: list[Box]) -> None:
    assert len(documented) == 11
    assert documented[0] == Box("buildinstance", None)
    assert documented[-1] == Box("Wait for boot", "self.driver.spawn")


def test_same_boxes_nesting_and_order(documented: list[Box]) -> None:
    drawn = read_picture(draw("call", style="documented").decode())

    assert drawn == documented


def test_more_volumes_and_ports_change_nothing_of_it(documented: list[Box]) -> None:
    from buildflow.flows.build import build_flow

    flow = build_flow(volumes=[{}, {}], networks=[{}, {}], hosts=["a", "b"])

    assert read_picture(draw("call", flow=flow).decode()) == documented


def test_from_a_volume_too(documented: list[Box]) -> None:
    from buildflow.flows.build import build_flow

    flow = build_flow(boot_volume={"id": "8fc07771-130e-4fc4-8cb0-0d47bc316cd4"})

    assert read_picture(draw("call", flow=flow).decode()) == documented


def test_depth_opens_the_boxes() -> None:
    boxes = [read_picture(draw("call", depth=depth).decode()) for depth in (0, 1, 2)]
    opened = Box("start", "_create_domain_and_network")

    assert opened not in boxes[0]
    assert opened in boxes[1]
    assert Box("port:0", "nic 0") not in boxes[1]
    assert Box("port:0", "nic 0") in boxes[2]
    assert [b for b in boxes[2] if b in boxes[0]] == boxes[0]


def test_the_reader_sees_a_box_that_hangs_elsewhere(documented: list[Box]) -> None:
    picture = (HERE / "documented_call_diagram.txt").read_text(encoding="utf-8")
    lines = picture.splitlines()
    at = next(i for i, line in enumerate(lines) if "to_xml" in line)
    for i in (at - 1, at, at + 1):
        lines[i] = lines[i].replace("   ", "", 1)

    assert read_picture("\n".join(lines)) != documented
