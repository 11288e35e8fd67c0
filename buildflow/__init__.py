"""buildflow: a state-machine workflow engine whose undo is proven, and the flow it exists for.

    import buildflow

    with buildflow.open("/tmp/machines") as engine:
        vm = engine.build(name="web", image="guest.qcow2", memory_mib=96).wait()

Everything heavy is imported when it is first used: this module alone costs a few milliseconds.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from buildflow.api import VmEngine
    from buildflow.api import open_engine as open  # noqa: A004 - the documented name
    from buildflow.config import Settings
    from buildflow.engine.core import Engine, Handle
    from buildflow.engine.run import StepEvent
    from buildflow.engine.step import Step
    from buildflow.errors import BuildflowError
    from buildflow.flows.request import BuildRequest

__all__ = [
    "BuildRequest",
    "BuildflowError",
    "Engine",
    "Handle",
    "Settings",
    "Step",
    "StepEvent",
    "VmEngine",
    "__version__",
    "open",
]

# oslo, below TaskFlow, tries to import eventlet, which says this of itself to whoever imports it
warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")

_WHERE = {
    "BuildRequest": ("buildflow.flows.request", "BuildRequest"),
    "BuildflowError": ("buildflow.errors", "BuildflowError"),
    "Engine": ("buildflow.engine.core", "Engine"),
    "Handle": ("buildflow.engine.core", "Handle"),
    "Settings": ("buildflow.config", "Settings"),
    "Step": ("buildflow.engine.step", "Step"),
    "StepEvent": ("buildflow.engine.run", "StepEvent"),
    "VmEngine": ("buildflow.api", "VmEngine"),
    "open": ("buildflow.api", "open_engine"),
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("buildflow-vm")
    try:
        module, attribute = _WHERE[name]
    except KeyError:
        raise AttributeError(f"module 'buildflow' has no attribute {name!r}") from None
    from importlib import import_module

    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
