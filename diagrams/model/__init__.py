"""What a picture is made of, whatever it is drawn with. Rules: data only; nothing here draws.

Three models come from the running definitions (`FlowModel`, `MachineModel`, `Timeline`), and one
from a build's own history (`Run`), which is laid over any of them.
"""

from buildflow.diagrams.model.flow import FlowModel, Link, LinkKind, Node, NodeType, Pattern
from buildflow.diagrams.model.machine import Edge, MachineModel, Moment, StateNode
from buildflow.diagrams.model.run import Effect, HistoryLine, Outcome, Run, StepRun
from buildflow.diagrams.model.timeline import Bar, Lane, Span, Timeline

__all__ = [
    "Bar",
    "Edge",
    "Effect",
    "FlowModel",
    "HistoryLine",
    "Lane",
    "Link",
    "LinkKind",
    "MachineModel",
    "Moment",
    "Node",
    "NodeType",
    "Outcome",
    "Pattern",
    "Run",
    "Span",
    "StateNode",
    "StepRun",
    "Timeline",
]
