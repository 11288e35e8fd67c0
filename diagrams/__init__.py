"""Pictures of the running definitions: extraction into one model, and its renderers.

    from buildflow.diagrams import draw
    print(draw("call").decode())

Rules of this package: it reads flows, state tables and a build's plain dict, and changes nothing;
the same input gives the same bytes, whatever the hash seed. `diff` and `report` are here too.
"""

if __name__ != "buildflow.diagrams":  # one module, one name: states and steps must not exist twice
    raise ImportError("import buildflow.diagrams, not diagrams")

from buildflow.diagrams.diff import diff
from buildflow.diagrams.drawing import KINDS, MACHINES, Format, draw, save
from buildflow.diagrams.report import report
from buildflow.diagrams.selection import Style

__all__ = ["KINDS", "MACHINES", "Format", "Style", "diff", "draw", "report", "save"]
