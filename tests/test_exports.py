"""The public names: what `import buildflow` promises, no more and no less."""

from __future__ import annotations

import importlib

import pytest

import buildflow

PUBLIC = {
    "BuildRequest": "buildflow.flows.request",
    "BuildflowError": "buildflow.errors",
    "Engine": "buildflow.engine.core",
    "Handle": "buildflow.engine.core",
    "Settings": "buildflow.config",
    "Step": "buildflow.engine.step",
    "StepEvent": "buildflow.engine.staging",
    "VmEngine": "buildflow.api",
}


def test_the_list_is_this() -> None:
    assert set(buildflow.__all__) == {*PUBLIC, "open", "__version__"}
    assert dir(buildflow) == sorted(buildflow.__all__)


@pytest.mark.parametrize(("name", "module"), PUBLIC.items())
def test_each_is_what_its_module_defines(name: str, module: str) -> None:
    found = getattr(buildflow, name)
    assert found is getattr(importlib.import_module(module), name)
    assert found.__module__ == module
    assert found.__doc__


def test_open_is_documented() -> None:
    assert buildflow.open.__doc__
    assert buildflow.open.__name__ == "open_engine"


def test_the_version_is_that_of_the_distribution() -> None:
    assert buildflow.__version__.count(".") >= 2


def test_anything_else_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        buildflow.Nothing  # noqa: B018
