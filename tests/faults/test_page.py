"""The page of an exploration, in a real browser: dark and light, wide and narrow, alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from buildflow.faults.page import as_page
from buildflow.faults.scene_names import scene_called
from buildflow.faults.testing import codes_of, explore
from tests.diagrams.chromium import chromium, screen


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as driver:
        yield driver


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    kinds = codes_of(["error", "kill", "service down"])
    result = explore(scene_called("build-0n0v"), only=kinds)
    file = tmp_path_factory.mktemp("page") / "faults.html"
    file.write_text(as_page(result), encoding="utf-8")
    return file


@pytest.mark.browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_it_fits_the_screen_and_asks_for_nothing(
    browser: Any, page: Path, width: int, dark: bool
) -> None:
    screen(browser, width, 900, dark=dark)
    browser.get(page.as_uri())
    script = browser.execute_script
    assert script("return document.documentElement.scrollWidth") <= width
    assert script("return performance.getEntriesByType('resource').length") == 0
    assert browser.get_log("browser") == []
    ink = script("return getComputedStyle(document.body).color")
    assert (ink == "rgb(255, 255, 255)") == dark
    assert len(browser.find_elements("css selector", "td.R")) == 4
    assert len(browser.find_elements("css selector", "svg")) == 2
