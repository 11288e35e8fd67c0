"""A timeline in Graphviz's language, as one table: Graphviz knows no scale of time.

By the clock all columns are of one width, and what does not fit stands at the end of its row.
"""

from __future__ import annotations

from collections.abc import Iterator

from buildflow.diagrams.dot.legend import legend_node, outcome_rows
from buildflow.diagrams.dot.syntax import head, html
from buildflow.diagrams.glyphs import columns, shown
from buildflow.diagrams.model import Bar, Lane, Outcome, Timeline
from buildflow.diagrams.overlay import bar_words, seconds
from buildflow.diagrams.theme import OUTCOMES, outcome_name

_CELLS = 80
_WIDTH = 7  # of a cell by the clock, in points: as wide as a letter


def timeline_dot(timeline: Timeline) -> str:
    """`timeline` by places or by the clock, as its unit says."""
    return "".join(_lines(timeline))


def _lines(timeline: Timeline) -> Iterator[str]:
    yield head(timeline.name)
    clock = timeline.unit == "second"
    rows = [
        *(_lane(lane, timeline, clock) for lane in timeline.lanes),
        *([_ruler(timeline)] if clock else []),
        *(_bar(bar, timeline, clock) for bar in timeline.bars),
    ]
    table = "".join(f"<tr>{row}</tr>" for row in rows)
    looks = 'border="0" cellborder="0" cellspacing="0" cellpadding="1"'
    yield f"  timeline [shape=plain, label=<<table {looks}>{table}</table>>];\n" if rows else ""
    if clock:
        used = {outcome_name(bar.outcome, bar.failed) for bar in timeline.bars}
        used |= {each for bar in timeline.bars if bar.undo_start for each in ("done", "undone")}
        yield legend_node(outcome_rows(used))
    yield "}\n"


def _column(timeline: Timeline, at: float) -> int:
    return min(round(at / timeline.end * _CELLS), _CELLS) if timeline.end else 0


def _ruler(timeline: Timeline) -> str:
    """Cells of one width, so that the columns keep to the scale; its ends say what that is."""
    cell = f'<td width="{_WIDTH}" height="4" fixedsize="true"></td>'
    return f'<td align="right">0</td>{cell * _CELLS}<td align="left">{seconds(timeline.end)}</td>'


def _lane(lane: Lane, timeline: Timeline, clock: bool) -> str:
    out = [f'<td align="right"><b>{html(lane.name)} </b></td>']
    used, aside = 0, []
    for number, span in enumerate(lane.spans):
        left = len(lane.spans) - number - 1
        end = min(max(_column(timeline, span.end), used + 1), _CELLS - left)
        if end > used:
            text = shown(span.value)
            if clock and columns(text) + 1 > end - used:
                aside.append(f"{text} from {seconds(span.start)}" if span.start else text)
                text = ""
            out.append(f'<td border="1" colspan="{end - used}">{html(text)}</td>')
            used = end
    if aside:
        lines = [", ".join(aside[at : at + 3]) for at in range(0, len(aside), 3)]
        text = "".join(f' {html(line)}<br align="left"/>' for line in lines)
        out.append(f'<td align="left">{text}</td>')
    return "".join(out)


def _bar(bar: Bar, timeline: Timeline, clock: bool) -> str:
    look = OUTCOMES[outcome_name(bar.outcome, bar.failed)]
    mark = f"{look.mark} " if clock else ""
    name = html(shown("  " * bar.depth + mark + bar.label))
    out = [f'<td align="left">{name} </td>']
    ran = "running" if not clock else "failed" if bar.failed else "done"
    if bar.outcome is Outcome.RUNNING:
        ran = "running"
    undo = "residue" if bar.outcome is Outcome.RESIDUE else "undone"
    used = 0
    for start, stop, name in ((bar.start, bar.end, ran), (bar.undo_start, bar.undo_end, undo)):
        if start is None:
            continue
        first = max(min(_column(timeline, start), _CELLS - 1), used)
        last = min(max(_column(timeline, stop if stop is not None else start), first + 1), _CELLS)
        if last <= first:
            continue  # no room is left for so short a one
        if first > used:
            out.append(f'<td colspan="{first - used}"></td>')
        fill = OUTCOMES[name]
        style = ' style="dashed"' if fill.dash else ""
        out.append(
            f'<td border="1"{style} bgcolor="{fill.fill}" color="{fill.stroke}"'
            f' colspan="{last - first}"></td>'
        )
        used = last
    if used < _CELLS:
        out.append(f'<td colspan="{_CELLS - used}"></td>')
    if clock:
        out.append(f'<td align="left"> {html(bar_words(bar))}</td>')
    return "".join(out)
