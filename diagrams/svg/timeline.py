"""Timelines as SVG: lanes of states over bars of steps, by places or on a scale of real time."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, floor, log10

from buildflow.diagrams.model import Bar, Lane, Outcome, Span, Timeline
from buildflow.diagrams.overlay import bar_words, seconds
from buildflow.diagrams.svg.legend import outcome_legend
from buildflow.diagrams.svg.scene import SIZE, SMALL, Scene, text_width
from buildflow.diagrams.theme import OUTCOMES, outcome_name

_CHART = 500.0
_COLUMN = 20.0
_ROW = 22.0
_LANE = 24.0
_INDENT = 12.0

Scale = Callable[[float], float]


def timeline_scene(timeline: Timeline) -> Scene:
    """`timeline` by places or by the clock, as its unit says."""
    planned = timeline.unit == "step"
    scale = _places(timeline) if planned else _clock(timeline)
    names = [_name(bar, planned) for bar in timeline.bars]
    left = max(
        [
            text_width(n, SMALL) + b.depth * _INDENT
            for n, b in zip(names, timeline.bars, strict=True)
        ]
        + [text_width("power", SIZE)],
        default=0.0,
    )
    scene = Scene(f"timeline of {timeline.name}")
    y = _heading(scene, timeline)
    x = left + 16
    chart = Scene()
    lanes_end = _lanes(chart, timeline, scale)
    axis_end = lanes_end + (8 if planned else _axis(chart, timeline, scale, lanes_end))
    rows_end = axis_end + len(timeline.bars) * _ROW + 4
    grid = Scene()
    _grid(grid, timeline, scale, lanes_end, rows_end)
    scene.place(grid, x, y)
    scene.place(chart, x, y)
    for number, lane in enumerate(timeline.lanes):
        middle = y + _lane_top(timeline, scale, number) + _LANE / 2
        scene.text(0, middle, lane.name, bold=True)
    for number, (name, bar) in enumerate(zip(names, timeline.bars, strict=True)):
        middle = y + axis_end + number * _ROW + _ROW / 2
        scene.text(bar.depth * _INDENT, middle, name, size=SMALL)
        _bar(scene, bar, scale, x, middle, planned)
        if not planned:
            scene.text(x + _CHART + 12, middle, bar_words(bar), size=SMALL, colour="quiet")
    scene.bottom = max(scene.bottom, y + rows_end)
    _legend(scene, timeline, planned)
    return scene


def _heading(scene: Scene, timeline: Timeline) -> float:
    """The title, and for a build how it stands; returns where the chart begins."""
    scene.text(0, 8, timeline.name, size=SIZE + 2, bold=True)
    if timeline.unit == "step":
        scene.text(
            0, 27, "a build in which nothing fails, step by step", size=SMALL, colour="quiet"
        )
        return 44.0
    going = ", still going on" if timeline.ongoing else ""
    words = f"{timeline.status}{going}; {seconds(timeline.end)}"
    words += f" from {timeline.origin}" if timeline.origin else ""
    scene.text(0, 27, words, size=SMALL, colour="quiet")
    if not timeline.fault:
        return 44.0
    scene.text(0, 45, f"✗ {timeline.fault}", size=SMALL, colour="failed-line")
    return 62.0


# --- scales --------------------------------------------------------------------------------------


def _places(timeline: Timeline) -> Scale:
    """A column a place, as wide as the names of the states need that stand in it alone."""
    widths = [_COLUMN] * ceil(timeline.end)
    for lane in timeline.lanes:
        for span in lane.spans:
            inside = range(int(span.start), max(int(span.end), int(span.start) + 1))
            missing = text_width(span.value, SMALL) + 14 - sum(widths[i] for i in inside)
            for i in inside:
                widths[i] += max(missing, 0.0) / len(inside)
    edges = [0.0]
    for width in widths:
        edges.append(edges[-1] + width)
    return lambda at: edges[min(int(at), len(edges) - 1)]


def _clock(timeline: Timeline) -> Scale:
    end = timeline.end or 1.0
    return lambda at: max(0.0, min(at / end, 1.0)) * _CHART


# --- lanes ---------------------------------------------------------------------------------------


def _callouts(lane: Lane, scale: Scale) -> dict[int, int]:
    """The spans of `lane` that are too narrow for their names: at which level below it each stands.

    A name hangs below all the names on its right that it would reach, so that no line to a name
    crosses another name.
    """
    levels: dict[int, int] = {}
    for number in range(len(lane.spans) - 1, -1, -1):
        span = lane.spans[number]
        if _fits(span.value, scale(span.end) - scale(span.start)):
            continue
        reach = _hangs_from(span, scale) + 9 + text_width(span.value, SMALL) + 6
        beside = (level for i, level in levels.items() if _hangs_from(lane.spans[i], scale) < reach)
        levels[number] = max(beside, default=0) + 1
    return levels


def _hangs_from(span: Span, scale: Scale) -> float:
    return scale(span.start) + max(scale(span.end) - scale(span.start), 1.5) / 2


def _fits(text: str, width: float) -> bool:
    return text_width(text, SMALL) + 6 <= width


def _lane_top(timeline: Timeline, scale: Scale, number: int) -> float:
    return sum(
        _LANE + 8 + max(_callouts(lane, scale).values(), default=0) * 15
        for lane in timeline.lanes[:number]
    )


def _lanes(scene: Scene, timeline: Timeline, scale: Scale) -> float:
    for number, lane in enumerate(timeline.lanes):
        top = _lane_top(timeline, scale, number)
        levels = _callouts(lane, scale)
        for place, span in enumerate(lane.spans):
            start, end = scale(span.start), scale(span.end)
            width = max(end - start, 1.5)
            last = timeline.ongoing and span is lane.spans[-1]
            tip = f"{span.value}: {span.trigger} by {span.step}" if span.trigger else span.value
            fill, stroke = ("running-fill", "running-line") if last else ("box", "ink")
            scene.rect(start, top, width, _LANE, fill=fill, stroke=stroke, radius=2, tip=tip)
            if _fits(span.value, end - start):
                scene.text(
                    start + width / 2, top + _LANE / 2, span.value, size=SMALL, anchor="middle"
                )
                continue
            y = top + _LANE + 2 + levels[place] * 15 - 6
            middle = _hangs_from(span, scale)
            scene.path([(middle, top + _LANE), (middle, y), (middle + 6, y)], stroke="quiet")
            scene.text(middle + 9, y, span.value, size=SMALL)
    return _lane_top(timeline, scale, len(timeline.lanes))


def _axis(scene: Scene, timeline: Timeline, scale: Scale, y: float) -> float:
    """Marks of real time; returns how much height they take."""
    step = _nice(timeline.end / 6 if timeline.end else 1.0)
    scene.path([(0, y + 22), (_CHART, y + 22)], stroke="quiet")
    for i in range(floor((timeline.end or 1.0) / step + 1e-9) + 1):
        at = scale(i * step)
        scene.path([(at, y + 18), (at, y + 22)], stroke="quiet")
        scene.text(at, y + 9, _mark(i * step), size=SMALL, colour="quiet", anchor="middle")
    return 30.0


_STEPS = (60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400)


def _nice(least: float) -> float:
    """A round step of time that is not less than `least`."""
    if least > 50:
        return next(
            (float(step) for step in _STEPS if step >= least), ceil(least / 86400) * 86400.0
        )
    power = 10.0 ** floor(log10(least)) if least > 0 else 1.0
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * 0.999)


def _mark(moment: float) -> str:
    """A place on the scale; round moments need no decimals."""
    if 1.0 <= moment < 60 and abs(moment - round(moment)) < 1e-9:
        return f"{round(moment)} s"
    return seconds(moment) if moment else "0"


def _grid(scene: Scene, timeline: Timeline, scale: Scale, top: float, bottom: float) -> None:
    """A faint line down from every change of a state, so that the step that made it is seen."""
    changes = {span.start for lane in timeline.lanes for span in lane.spans if span.start > 0}
    for at in sorted(changes):
        scene.path([(scale(at), top), (scale(at), bottom)], stroke="rule", dash="2 3", weight=1)


# --- bars ----------------------------------------------------------------------------------------


def _name(bar: Bar, planned: bool) -> str:
    mark = "" if planned else OUTCOMES[outcome_name(bar.outcome, bar.failed)].mark + " "
    return mark + bar.label


def _bar(scene: Scene, bar: Bar, scale: Scale, x: float, y: float, planned: bool) -> None:
    if bar.start is None:
        return
    end = bar.end if bar.end is not None else bar.start
    start, width = x + scale(bar.start), max(scale(end) - scale(bar.start), 2.0)
    if planned and bar.nests:
        for at in (start + 1, start + width - 1):
            scene.path([(at, y - 4), (at, y + 5)], stroke="running-line", weight=1.4)
        scene.path([(start, y), (start + width, y)], stroke="running-line", weight=1.4)
        return
    if planned:
        scene.rect(start, y - 7, width, 14, fill="running-fill", stroke="running-line", radius=2)
        return
    name = outcome_name(bar.outcome, bar.failed)
    # what was undone did run first: its bar says so, and the undo has a bar of its own
    ran = "failed" if bar.failed else "done" if name in ("undone", "undoing") else name
    scene.rect(
        start, y - 7, width, 14, fill=f"{ran}-fill", stroke=f"{ran}-line", weight=1.4, radius=2,
        tip=bar.error,
    )  # fmt: skip
    if bar.undo_start is not None and bar.undo_end is not None:
        first, last = scale(bar.undo_start), scale(bar.undo_end)
        look = "residue" if bar.outcome is Outcome.RESIDUE else "undone"
        scene.rect(
            x + first, y - 7, max(last - first, 2.0), 14, fill=f"{look}-fill",
            stroke=f"{look}-line", dash="3 2", weight=1.4, radius=2,
        )  # fmt: skip


def _legend(scene: Scene, timeline: Timeline, planned: bool) -> None:
    if planned:
        return
    names = {outcome_name(bar.outcome, bar.failed) for bar in timeline.bars}
    if any(bar.undo_start is not None for bar in timeline.bars):
        names |= {"undone", "done"}
    scene.place(outcome_legend(names, scene.right), 0, scene.bottom + 14)
