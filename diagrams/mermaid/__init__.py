"""The models as Mermaid text, which GitHub and many others draw, and back from it without loss.

What is drawn is read from what is drawn; facts that no picture shows (why a row exists, which class
a step is) stand in one comment, the last line.
"""

from buildflow.diagrams.mermaid.calls import call_mermaid
from buildflow.diagrams.mermaid.flow import flow_mermaid, read_flow
from buildflow.diagrams.mermaid.machine import machine_mermaid, machines_mermaid, read_machine
from buildflow.diagrams.mermaid.syntax import without_facts
from buildflow.diagrams.mermaid.timeline import timeline_mermaid

__all__ = [
    "call_mermaid",
    "flow_mermaid",
    "machine_mermaid",
    "machines_mermaid",
    "read_flow",
    "read_machine",
    "timeline_mermaid",
    "without_facts",
]
