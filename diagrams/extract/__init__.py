"""From the running definitions to the models. Rules: reads them, never runs or changes them."""

from buildflow.diagrams.extract.flow import extract_flow, find_flow
from buildflow.diagrams.extract.joint import extract_joint
from buildflow.diagrams.extract.machine import extract_machine
from buildflow.diagrams.extract.timeline import plan, recorded

__all__ = [
    "extract_flow",
    "extract_joint",
    "extract_machine",
    "find_flow",
    "plan",
    "recorded",
]
