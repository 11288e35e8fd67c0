"""The formal vm, task and power state machines, and the joint table that couples them.

Rules of this package: tables are the only truth; nothing here does IO or reads a clock; it imports
nothing of buildflow but its errors.
"""

from buildflow.states import joint, power, task, vm
from buildflow.states.machine import TABLES, InstanceStates, apply
from buildflow.states.model import Kind, Row, Stability, State, Table

__all__ = [
    "TABLES",
    "InstanceStates",
    "Kind",
    "Row",
    "Stability",
    "State",
    "Table",
    "apply",
    "joint",
    "power",
    "task",
    "vm",
]
