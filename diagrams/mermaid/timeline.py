"""A timeline as a Mermaid Gantt chart: one section for the states, one for the steps."""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildflow.diagrams.glyphs import shown
from buildflow.diagrams.model import Bar, Outcome, Timeline
from buildflow.diagrams.overlay import seconds
from buildflow.diagrams.theme import OUTCOMES, outcome_name


def timeline_mermaid(timeline: Timeline) -> str:
    """`timeline` by places or by the clock, as its unit says."""
    return "".join(_lines(timeline))


def _lines(timeline: Timeline) -> Iterator[str]:
    # Gantt charts know only dates: a place is drawn as a second, a second as it is
    scale = 1000.0
    yield "gantt\n"
    title = _name(timeline.name) + (f" {timeline.status}" if timeline.status else "")
    yield f"  title {title}\n"
    yield "  dateFormat x\n"
    yield "  todayMarker off\n"
    yield f"  axisFormat {'%s' if timeline.unit == 'step' else '%M:%S.%L'}\n"
    for lane in timeline.lanes:
        yield f"  section {_name(lane.name)}\n"
        for span in lane.spans:
            yield f"  {_name(span.value)} :{_range(span.start, span.end, scale)}\n"
    yield "  section steps\n"
    for bar in timeline.bars:
        yield from _bar(bar, timeline.unit, scale)


def _bar(bar: Bar, unit: str, scale: float) -> Iterator[str]:
    if bar.start is None:
        return
    end = bar.end if bar.end is not None else bar.start
    if unit == "step":
        yield f"  {_name(bar.label)} :{_range(bar.start, end, scale)}\n"
        return
    mark = OUTCOMES[outcome_name(bar.outcome, bar.failed)].mark
    tag = "crit, " if bar.failed or bar.outcome is Outcome.RESIDUE else ""
    tag = "active, " if bar.outcome is Outcome.RUNNING else tag
    name = f"{mark} {_name(bar.label)} {seconds(end - bar.start)}"
    yield f"  {name} :{tag}{_range(bar.start, end, scale)}\n"
    if bar.undo_start is not None and bar.undo_end is not None:
        yield (
            f"  ↩ undo of {_name(bar.label)} {seconds(bar.undo_end - bar.undo_start)}"
            f" :done, {_range(bar.undo_start, bar.undo_end, scale)}\n"
        )


def _range(start: float, end: float, scale: float) -> str:
    first = round(start * scale)
    return f"{first}, {max(round(end * scale), first + 1)}"


def _name(text: str) -> str:
    """A name in a Gantt chart, where colons, semicolons and hashes mean something."""
    return re.sub(r"[:;#%,]", lambda match: f"#{ord(match.group())};", shown(text)).strip() or "-"
