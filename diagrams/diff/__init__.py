"""Two versions of the flow and the states: what differs, and what builds in flight make of it."""

from buildflow.diagrams.diff.comparison import Change, Verdict, compare
from buildflow.diagrams.diff.writing import diff

__all__ = ["Change", "Verdict", "compare", "diff"]
