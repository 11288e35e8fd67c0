"""Lanes of states over bars of steps: by place when no build is given, by the clock when one is."""

from __future__ import annotations

from dataclasses import dataclass

from buildflow.diagrams.model.run import Outcome


@dataclass(frozen=True, slots=True)
class Span:
    """One lane holds `value` from `start` to `end`; `trigger` is what brought it there."""

    value: str
    start: float
    end: float
    trigger: str = ""
    step: str = ""


@dataclass(frozen=True, slots=True)
class Lane:
    """One machine's states one after the other, without gaps."""

    name: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Bar:
    """One step: when it ran, and when its undo did. None where that has not happened.

    `nests` is true for a flow, whose bar goes round those of its steps.
    """

    name: str
    label: str
    depth: int = 0
    nests: bool = False
    start: float | None = None
    end: float | None = None
    undo_start: float | None = None
    undo_end: float | None = None
    undo_failed: bool = False
    outcome: Outcome = Outcome.PENDING
    failed: bool = False
    error: str = ""
    attempt: int = 1
    undo_place: int | None = None
    residue: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Timeline:
    """`unit` is "step" (places in the flow) or "second" (since `origin`)."""

    name: str
    unit: str
    end: float
    lanes: tuple[Lane, ...]
    bars: tuple[Bar, ...]
    origin: str = ""
    status: str = ""
    ongoing: bool = False
    fault: str = ""
