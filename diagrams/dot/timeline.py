"""A timeline in Graphviz's language, as one table: Graphviz knows no scale of time."""

from __future__ import annotations

from collections.abc import Iterator

from buildflow.diagrams.dot.legend import legend_node, outcome_rows
from buildflow.diagrams.dot.syntax import head, html
from buildflow.diagrams.glyphs import shown
from buildflow.diagrams.model import Bar, Lane, Timeline
from buildflow.diagrams.overlay import seconds
from buildflow.diagrams.theme import OUTCOMES, outcome_name

_CELLS = 60


def timeline_dot(timeline: Timeline) -> str:
    """`timeline` by places or by the clock, as its unit says."""
    return "".join(_lines(timeline))


def _lines(timeline: Timeline) -> Iterator[str]:
    yield head(timeline.name)
    rows = [
        *(_lane(lane, timeline) for lane in timeline.lanes),
        *(_bar(bar, timeline) for bar in timeline.bars),
    ]
    table = "".join(f"<tr>{row}</tr>" for row in rows)
    looks = 'border="0" cellborder="0" cellspacing="1" cellpadding="1"'
    yield f"  timeline [shape=plain, label=<<table {looks}>{table}</table>>];\n" if rows else ""
    if timeline.unit == "second":
        used = {outcome_name(bar.outcome, bar.failed) for bar in timeline.bars}
        yield legend_node(outcome_rows(used))
    yield "}\n"


def _column(timeline: Timeline, at: float) -> int:
    return min(round(at / timeline.end * _CELLS), _CELLS) if timeline.end else 0


def _lane(lane: Lane, timeline: Timeline) -> str:
    out = [f'<td align="right"><b>{html(lane.name)}</b></td>']
    used = 0
    for number, span in enumerate(lane.spans):
        left = len(lane.spans) - number - 1
        end = min(max(_column(timeline, span.end), used + 1), _CELLS - left)
        if end > used:
            text = html(shown(span.value))
            out.append(f'<td border="1" colspan="{end - used}">{text}</td>')
            used = end
    return "".join(out)


def _bar(bar: Bar, timeline: Timeline) -> str:
    name = html(shown("  " * bar.depth + bar.label))
    cell = f'<td align="left">{name}</td>'
    if bar.start is None:
        return cell + f'<td colspan="{_CELLS}"></td>'
    start = min(_column(timeline, bar.start), _CELLS - 1)
    stop = bar.end if bar.end is not None else bar.start
    end = max(_column(timeline, stop), start + 1)
    look = OUTCOMES[outcome_name(bar.outcome, bar.failed)]
    out = [cell]
    if start:
        out.append(f'<td colspan="{start}"></td>')
    text = "" if timeline.unit == "step" else f"{look.mark} {html(seconds(stop - bar.start))}"
    fill = OUTCOMES["running"] if timeline.unit == "step" else look
    out.append(
        f'<td border="1" bgcolor="{fill.fill}" color="{fill.stroke}" colspan="{end - start}">'
        f"{text}</td>"
    )
    if end < _CELLS:
        out.append(f'<td colspan="{_CELLS - end}"></td>')
    return "".join(out)
