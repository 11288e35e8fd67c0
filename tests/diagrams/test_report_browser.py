"""The report in a real Chromium: its looks, its size on a telephone, its keyboard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from buildflow.diagrams import report
from buildflow.diagrams.example import example_build
from tests.diagrams.chromium import screen

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path: Path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(report(example_build()), encoding="utf-8")
    browser.get_log("browser")  # what other pages had to say
    browser.get(f"file://{path}")
    return browser


def background(page: Any) -> tuple[int, ...]:
    text = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    return tuple(int(part) for part in text[4:-1].split(","))


def test_dark_and_light(page: Any) -> None:
    screen(page, 1200, 900)
    assert min(background(page)) > 200
    ink = "return getComputedStyle(document.querySelector('svg text')).fill"
    light = page.execute_script(ink)
    screen(page, 1200, 900, dark=True)
    assert max(background(page)) < 60
    assert page.execute_script(ink) != light


@pytest.mark.parametrize("width", [320, 390, 768, 1200])
def test_no_screen_is_too_narrow(page: Any, width: int) -> None:
    """The page itself never scrolls sideways; wide pictures do, in frames of their own."""
    screen(page, width, 800)
    wide = page.execute_script("return document.documentElement.scrollWidth")

    assert wide <= width


def test_letters_are_large_enough_on_a_telephone(page: Any) -> None:
    screen(page, 390, 800)
    sizes = page.execute_script(
        "return [...document.querySelectorAll('main *')].filter(e => e.childNodes.length"
        " && [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim()))"
        ".map(e => parseFloat(getComputedStyle(e).fontSize))"
    )

    assert min(sizes) >= 11


def test_the_keyboard_reaches_everything(page: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    screen(page, 1200, 900)
    page.execute_script("document.activeElement.blur(); window.scrollTo(0, 0)")
    wanted = page.execute_script(
        "return document.querySelectorAll('a, summary, [tabindex=\"0\"]').length"
        " - document.querySelectorAll('details:not([open]) [tabindex=\"0\"]').length"
    )
    seen, first_outline = set(), ""
    for _ in range(wanted + 5):
        ActionChains(page).send_keys(Keys.TAB).perform()
        here = page.execute_script(
            "const e = document.activeElement; e.dataset.n ||= ++window.n || (window.n = 1);"
            "return [e.tagName, e.dataset.n, getComputedStyle(e).outlineStyle]"
        )
        if here[0] == "BODY":
            break
        first_outline = first_outline or here[2]
        seen.add(here[1])
    assert len(seen) == wanted
    assert first_outline not in ("", "none")


def test_a_key_opens_what_is_folded(page: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    folded = page.find_element("css selector", "#flow summary")
    picture = page.find_element("css selector", "#flow svg")
    assert not picture.is_displayed()
    folded.send_keys(Keys.ENTER)
    assert picture.is_displayed()
    folded.send_keys(Keys.ENTER)


def test_nothing_is_asked_for_and_nothing_complained_of(page: Any) -> None:
    asked = page.execute_script("return performance.getEntriesByType('resource').length")

    assert asked == 0
    assert [line["message"] for line in page.get_log("browser")] == []


@pytest.mark.parametrize("dark", [False, True])
def test_its_screenshot_is_no_blank(page: Any, dark: bool, tmp_path: Path) -> None:
    screen(page, 1000, 1400, dark=dark)
    path = tmp_path / "report.png"

    assert page.save_screenshot(str(path))
    assert path.stat().st_size > 40_000
