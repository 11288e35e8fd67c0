"""Timelines as text: states beside the steps that move them, or bars over a scale of real time."""

from __future__ import annotations

from collections.abc import Iterator

from buildflow.diagrams.glyphs import columns, padded, shown
from buildflow.diagrams.model import Bar, Lane, Timeline
from buildflow.diagrams.overlay import bar_words, seconds
from buildflow.diagrams.theme import OUTCOMES, outcome_name

_SCALE = 48  # columns of a bar chart


def timeline_text(timeline: Timeline) -> str:
    """`timeline` by places or by the clock, as its unit says."""
    lines = _planned(timeline) if timeline.unit == "step" else _recorded(timeline)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _planned(timeline: Timeline) -> Iterator[str]:
    rows = [("(accepted)", 0.0)]
    rows += [("  " * bar.depth + shown(bar.label), bar.start or 0.0) for bar in timeline.bars]
    rows.append(("(finished)", timeline.end - 1.0))
    width = max(columns(text) for text, _ in rows)
    wide = {lane.name: _widest(lane) for lane in timeline.lanes}
    yield f"{padded('step', width)}  " + "  ".join(
        padded(lane.name, wide[lane.name]) for lane in timeline.lanes
    )
    told: set[tuple[str, float]] = set()
    for text, start in rows:
        cells = []
        for lane in timeline.lanes:
            span = next(s for s in lane.spans if s.start <= start < s.end)
            fresh = (lane.name, span.start) not in told
            told.add((lane.name, span.start))
            cells.append(padded(span.value if fresh else "|", wide[lane.name]))
        yield f"{padded(text, width)}  {'  '.join(cells)}"


def _widest(lane: Lane) -> int:
    return max(columns(lane.name), *(columns(span.value) for span in lane.spans))


def _recorded(timeline: Timeline) -> Iterator[str]:
    state = timeline.status + (", still going on" if timeline.ongoing else "")
    since = f", from {timeline.origin}" if timeline.origin else ""
    yield f"{shown(timeline.name)}: {state}{since}, {seconds(timeline.end)}"
    if timeline.fault:
        yield f"fault: {shown(timeline.fault)}"
    yield ""
    for lane in timeline.lanes:
        moves = ", ".join(f"{span.value} {_at(span.start)}" for span in lane.spans)
        yield f"{lane.name:<6} {moves}"
    if timeline.lanes:
        yield ""
    names = [f"{'  ' * bar.depth}{_mark(bar)} {shown(bar.label)}" for bar in timeline.bars]
    width = max((columns(name) for name in names), default=0)
    yield f"{padded('', width)}  |{padded('0', _SCALE - 1)}|{seconds(timeline.end)}"
    for name, bar in zip(names, timeline.bars, strict=True):
        words = shown(bar_words(bar, errors=True))
        yield f"{padded(name, width)}  |{_strip(bar, timeline.end)}| {words}"
    yield ""
    marks = {outcome_name(bar.outcome, bar.failed) for bar in timeline.bars}
    yield "  ".join(f"{look.mark} {look.word}" for name, look in OUTCOMES.items() if name in marks)
    yield "= it ran   ~ its undo ran"


def _at(moment: float) -> str:
    return f"from {seconds(moment)}" if moment else "from the beginning"


def _mark(bar: Bar) -> str:
    return OUTCOMES[outcome_name(bar.outcome, bar.failed)].mark


def _strip(bar: Bar, end: float) -> str:
    cells = [" "] * _SCALE
    for start, stop, char in ((bar.start, bar.end, "="), (bar.undo_start, bar.undo_end, "~")):
        if start is None:
            continue
        first = _column(start, end)
        last = _column(stop if stop is not None else end, end)
        for at in range(first, max(last, first) + 1):
            cells[at] = char
    return "".join(cells)


def _column(moment: float, end: float) -> int:
    return min(int(moment / end * _SCALE), _SCALE - 1) if end > 0 else 0
