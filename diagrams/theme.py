"""The words, marks and colours that all pictures share. Rule: no meaning by colour alone.

Every kind of edge has an arrow of its own as well, every kind of state a shape, and every outcome a
word and a mark; the arrows are those of Mermaid, so that text and Mermaid read alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from buildflow.diagrams.model import NodeType, Outcome, Pattern
from buildflow.states import Kind, Stability


@dataclass(frozen=True, slots=True)
class EdgeLook:
    """How one kind of edge is drawn: `arrow` in text and Mermaid, `dash` and `head` elsewhere.

    `head` is one of arrow, cross, circle, open; `colour` and `dark` are for light and dark paper.
    """

    arrow: str
    dash: str
    head: str
    width: float
    colour: str
    dark: str
    means: str


EDGES: Final[dict[Kind, EdgeLook]] = {
    Kind.FORWARD: EdgeLook("==>", "", "arrow", 2.4, "#1f5fae", "#7ab3f5", "the build goes on"),
    Kind.COMPENSATING: EdgeLook(
        "-.->", "6 4", "arrow", 1.4, "#8a5a00", "#e0b050", "a rollback walks back"
    ),
    Kind.FAILING: EdgeLook("--x", "", "cross", 1.6, "#b3261e", "#ff8a80", "the build gives up"),
    Kind.DELETING: EdgeLook("--o", "2 3", "circle", 1.6, "#5b4a9c", "#b9a8f5", "a delete wins"),
    Kind.REPORTED: EdgeLook("-->", "", "open", 1.2, "#4a5560", "#a9b4c0", "the hypervisor says so"),
}


@dataclass(frozen=True, slots=True)
class StateLook:
    """How a state is drawn: `marks` surround its name in text, `outline` elsewhere."""

    marks: tuple[str, str]
    outline: str
    means: str


STATES: Final[dict[Stability, StateLook]] = {
    Stability.STABLE: StateLook(("[", "]"), "plain", "may stay here for ever"),
    Stability.TRANSIENT: StateLook(("(", ")"), "dashed", "a step is at work"),
    Stability.TERMINAL: StateLook(("[[", "]]"), "double", "nothing leads out"),
    Stability.STUCK: StateLook(("{{", "}}"), "hexagon", "only a delete leads on"),
}


@dataclass(frozen=True, slots=True)
class OutcomeLook:
    """How far a step has come: `mark` stands before its name, `fill` behind it."""

    mark: str
    word: str
    stroke: str
    fill: str
    dark_stroke: str
    dark_fill: str
    dash: str = ""


OUTCOMES: Final[dict[str, OutcomeLook]] = {
    "pending": OutcomeLook("·", "not run", "#8a939c", "#f4f5f6", "#6e7883", "#1d2126", "2 3"),
    "running": OutcomeLook("▶", "running", "#1f5fae", "#dfecfb", "#7ab3f5", "#16304f"),
    "done": OutcomeLook("✓", "done", "#1e7a3c", "#e1f3e6", "#6fce8c", "#143322"),
    "failed": OutcomeLook("✗", "failed", "#b3261e", "#fbe3e1", "#ff8a80", "#4a1613"),
    "undoing": OutcomeLook("↺", "undoing", "#8a5a00", "#fdf0d5", "#e0b050", "#3d2c08", "6 4"),
    "undone": OutcomeLook("↩", "undone", "#8a5a00", "#fdf0d5", "#e0b050", "#3d2c08", "6 4"),
    "residue": OutcomeLook("!", "residue is left", "#7b1fa2", "#f3e2f9", "#d9a0ec", "#3a1547"),
}


def outcome_name(outcome: Outcome, failed: bool) -> str:
    """The look of a step: what is left behind weighs most, then that it failed."""
    return "failed" if failed and outcome is not Outcome.RESIDUE else outcome.value


PATTERN_WORDS: Final[dict[Pattern, str]] = {
    Pattern.NONE: "",
    Pattern.LINEAR: "one after the other",
    Pattern.UNORDERED: "in any order",
    Pattern.GRAPH: "each as soon as it can",
}

TYPE_WORDS: Final[dict[NodeType, str]] = {
    NodeType.FLOW: "flow",
    NodeType.TASK: "step",
    NodeType.RETRY: "retry",
}
