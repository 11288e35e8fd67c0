"""The report: what it says, and that it needs nothing else."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from lxml import html

from buildflow.diagrams import report
from buildflow.diagrams.example import example_build
from buildflow.errors import BadInput


@pytest.fixture(scope="module")
def failed() -> dict[str, Any]:
    return example_build()


def test_it_tells_the_whole_story(failed: dict[str, Any]) -> None:
    page = report(failed)
    tree: Any = html.fromstring(page)
    text = " ".join(tree.text_content().split())

    assert [h.text for h in tree.iter("h2")] == [
        "The fault", "The call tree", "The timeline", "The states", "The flow, and the way back",
        "Steps", "Effects", "History",
    ]  # fmt: skip
    assert "GuestDied in step Wait for boot: the guest powered off while it booted" in text
    assert "was rolled back: nothing of it is left" in text
    assert "start done 200 ms, undone 1st" in text
    assert len(failed["effects"]) == len(tree.xpath("//section[@id='effects']//tbody/tr"))
    assert len(failed["history"]) == len(tree.xpath("//section[@id='history']//tbody/tr"))


def test_it_needs_nothing_else(failed: dict[str, Any]) -> None:
    page = report(failed)

    assert "<script" not in page
    assert not re.search(r"\b(?:src|href)=\"(?!#)", page)
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_what_others_wrote_is_only_text(failed: dict[str, Any]) -> None:
    build = copy.deepcopy(failed)
    evil = "</style><script>alert(1)</script><img src=x onerror=alert(1)>\x00\x1b[31m"
    build.update(name=evil, id=evil, status=evil)
    build["fault"] = {"type": evil, "message": evil, "step": evil}
    build["effects"][0].update(external_id=evil, reason=evil, kind=evil)
    build["history"][0].update(trigger=evil, step=evil)
    build["steps"][0].update(error=evil)
    page = report(build)

    assert "<script>" not in page
    assert "<img" not in page
    assert "\x00" not in page
    assert "\x1b" not in page


def test_every_link_leads_somewhere_and_every_frame_can_be_reached(failed: dict[str, Any]) -> None:
    tree: Any = html.fromstring(report(failed))
    ids = [element.get("id") for element in tree.xpath("//*[@id]")]

    assert len(ids) == len(set(ids))
    assert {a.get("href")[1:] for a in tree.iter("a")} <= set(ids)
    for frame in tree.xpath("//*[contains(@class, 'wide')]"):
        assert frame.get("tabindex") == "0"
        assert frame.get("aria-label")


def test_later_errors_are_told_too(failed: dict[str, Any]) -> None:
    later = {"type": "DriverError", "message": "no answer", "step": "undo of port:0"}

    assert "<li>DriverError in undo of port:0: no answer</li>" in report(
        {**failed, "errors": [later]}
    )


def test_a_build_that_has_not_begun(failed: dict[str, Any]) -> None:
    build = {**failed, "status": "queued", "steps": [], "history": [], "effects": [], "fault": None}
    build["created_at"] = None

    assert "It waits to be started." in report(build)


def test_what_is_no_build_is_refused() -> None:
    with pytest.raises(BadInput):
        report({})
