"""An engine over a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from buildflow.config import Settings
from buildflow.engine.core import Engine

MakeEngine = Callable[..., Engine]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the steps of tests/engine/files.py make their files."""
    found = tmp_path / "files"
    found.mkdir()
    return found


@pytest.fixture
def make_engine(tmp_path: Path, folder: Path) -> Iterator[MakeEngine]:
    """Engines over one store; each is closed at the end."""
    made: list[Engine] = []

    def make(**options: Any) -> Engine:
        names = Settings.__dataclass_fields__
        settings = {name: options.pop(name) for name in list(options) if name in names}
        settings = {"home": tmp_path, "undo_timeout_s": 0.5, **settings}
        engine = Engine(Settings(**settings), options.pop("world", folder), **options)
        made.append(engine)
        return engine

    yield make
    for engine in made:
        engine.close(cancel=True)


@pytest.fixture
def engine(make_engine: MakeEngine) -> Engine:
    """One engine."""
    return make_engine()
