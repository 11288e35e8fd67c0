"""The models as SVG, laid out here and not by Graphviz: the same bytes everywhere, with any fonts.

Every picture follows the reader's choice of dark or light, and carries its words as text.
"""

from buildflow.diagrams.svg.calls import call_scene
from buildflow.diagrams.svg.chart import chart_scene
from buildflow.diagrams.svg.flow import flow_scene
from buildflow.diagrams.svg.scene import Scene, stacked
from buildflow.diagrams.svg.timeline import timeline_scene

__all__ = ["Scene", "call_scene", "chart_scene", "flow_scene", "stacked", "timeline_scene"]
