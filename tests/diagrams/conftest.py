"""One Chromium for all the tests of this folder: starting one takes longer than most of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.diagrams.chromium import chromium


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """A WebDriver; who uses it loads a page of its own first."""
    with chromium() as driver:
        yield driver
