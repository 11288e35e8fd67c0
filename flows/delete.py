"""The delete flow: the build's own steps, undone one by one, last made first."""

from __future__ import annotations

from typing import Any

from buildflow.engine.removal import removal_flow
from buildflow.flows.build import build_flow


def delete_flow(**inputs: Any) -> Any:
    """The flow that removes what `build_flow(**inputs)` has made."""
    return removal_flow(build_flow(**inputs), "deleteinstance")
