"""The models in Graphviz's language. Writing it needs no Graphviz; laying it out does."""

from buildflow.diagrams.dot.calls import call_dot
from buildflow.diagrams.dot.flow import flow_dot
from buildflow.diagrams.dot.machine import machine_dot, machines_dot
from buildflow.diagrams.dot.timeline import timeline_dot

__all__ = ["call_dot", "flow_dot", "machine_dot", "machines_dot", "timeline_dot"]
