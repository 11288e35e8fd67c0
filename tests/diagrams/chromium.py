"""A real headless Chromium, for pages and for the real Mermaid package."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
MERMAID = "12.3.0"


@contextmanager
def chromium() -> Iterator[Any]:
    """A WebDriver; the test is skipped where chromium and chromium-driver are not there."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("needs Debian's packages chromium and chromium-driver")
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = browser
    # the page under test is a file of ours; Chromium's own sandbox does not start as root
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    page = webdriver.Chrome(options=options, service=Service(driver))
    try:
        page.set_script_timeout(60)
        yield page
    finally:
        page.quit()


def screen(page: Any, width: int, height: int, *, dark: bool = False) -> None:
    """The size of the screen, and what its owner prefers."""
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def mermaid_script() -> Path:
    """The real Mermaid package's script, fetched by npm once and kept in .cache/."""
    folder = ROOT / ".cache" / "mermaid"
    script = folder / f"mermaid-{MERMAID}.min.js"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the second process waits for the first
        _fetch_mermaid(folder, script)
    return script


def _fetch_mermaid(folder: Path, script: Path) -> None:
    if not script.is_file():
        if shutil.which("npm") is None:
            pytest.skip("needs npm to fetch the mermaid package")
        subprocess.run(
            ["npm", "pack", "--silent", f"mermaid@{MERMAID}", "--pack-destination", str(folder)],
            check=True,
            capture_output=True,
            timeout=300,
        )
        with tarfile.open(folder / f"mermaid-{MERMAID}.tgz") as package:
            found = package.extractfile("package/dist/mermaid.min.js")
            assert found is not None
            part = script.with_suffix(".part")
            part.write_bytes(found.read())
            part.rename(script)
        (folder / f"mermaid-{MERMAID}.tgz").unlink()
