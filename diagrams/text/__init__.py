"""The models as plain text: for a terminal, a mail, a README. Needs no binary."""

from buildflow.diagrams.text.boxes import boxes
from buildflow.diagrams.text.chart import chart
from buildflow.diagrams.text.flow import flow_text
from buildflow.diagrams.text.timeline import timeline_text
from buildflow.diagrams.text.tree import tree

__all__ = ["boxes", "chart", "flow_text", "timeline_text", "tree"]
