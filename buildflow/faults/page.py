"""What an exploration found, as one web page that needs nothing else: the matrix and the charts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from html import escape
from typing import Any, Final

from buildflow.faults.explore import Exploration
from buildflow.faults.kinds import BY_CODE, KINDS
from buildflow.faults.records import EDGES
from buildflow.faults.report import token_or_none
from buildflow.faults.several import Result, Several, parts_of
from buildflow.faults.shrink import story
from buildflow.states import TABLES, Row, Table

_SIGNS: Final = {"complete": "C", "rolled_back": "G", "residue": "R", "unfinished": "!"}
_WORDS: Final = {
    "complete": "complete: exactly what was asked for",
    "rolled_back": "gone: exactly what was there before",
    "residue": "residue: exactly what its list says",
    "unfinished": "never ended",
}
_STYLE: Final = """
:root { color-scheme: light dark; --line: #8886; --bad: #c22; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 100rem; padding: 0 1rem }
table { border-collapse: collapse } th, td { border: 1px solid var(--line); padding: .15rem .4rem }
th.kind { writing-mode: vertical-rl; transform: rotate(180deg); font-weight: normal }
th.step { text-align: left; font-weight: normal; white-space: nowrap }
td { text-align: center; font-variant-numeric: tabular-nums }
.C { background: #2a62 } .G { background: #06c3 } .R { background: #c803 } .x { background: #c225 }
h1 { overflow-wrap: anywhere }
.scroll { overflow-x: auto } pre { white-space: pre-wrap } .bad { color: var(--bad) }
svg { max-width: 100%; height: auto }
"""


def as_page(result: Result) -> str:
    """The whole page."""
    return "\n".join(_page(result)) + "\n"


def _page(result: Result) -> Iterator[str]:
    title = f"Faults of {result.scene}"
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield """<meta http-equiv="Content-Security-Policy" content="default-src 'none';"""
    yield """ style-src 'unsafe-inline'">"""
    yield f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>"
    yield f"<h1>{escape(title)}</h1>"
    broken = len(result.failing)
    yield (
        f"<p>{result.scenarios:,} scenarios decided in {result.seconds:.1f} s by"
        f" {result.executed:,} runs ({result.pruned:,} pruned), over {len(result.points)} points"
        f" and {result.positions:,} positions. "
        + (f'<strong class="bad">{broken} broke a rule.</strong>' if broken else "No rule broken.")
        + "</p>"
    )
    yield from _broken(result)
    if isinstance(result, Several):
        yield "<h2>Scenes</h2><ul>"
        for part in result.parts:
            name = escape(part.scene)
            yield (
                f'<li><a href="#{name}">{name}</a>: {part.scenarios:,} scenarios,'
                f" {len(part.failing)} broke a rule</li>"
            )
        yield "</ul>"
    for part in parts_of(result):
        yield from _matrix(part, named=isinstance(result, Several))
    yield from _charts(result)
    yield "</body></html>"


def _broken(result: Result) -> Iterator[str]:
    if not result.failing:
        return
    yield "<h2>Broken rules</h2>"
    for part in parts_of(result):
        for scenario in part.failing:
            text = "\n".join(story(scenario, token_or_none(part.scene, scenario)))
            yield f"<pre>{escape(text)}</pre>"


def _matrix(result: Exploration, *, named: bool) -> Iterator[str]:
    cells: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    steps: dict[str, None] = {}
    for cell in result.cells:
        cells[cell.step, cell.code][cell.outcome.value] += 1
        steps.setdefault(cell.step)
    bad = {(s.struck[0].visit.step, s.struck[0].kind.code) for s in result.failing if s.struck}
    codes = [kind.code for kind in KINDS if any(code == kind.code for _, code in cells)]
    head, name = "Step &times; fault &times; outcome, of single faults", escape(result.scene)
    yield f'<h2 id="{name}">{name}: {head}</h2><p>' if named else f"<h2>{head}</h2><p>"
    signs = "; ".join(f"<b>{sign}</b> {_WORDS[word]}" for word, sign in _SIGNS.items())
    yield f"{signs}. The figure is the number of points.</p>"
    yield '<div class="scroll"><table><tr><th></th>'
    for code in codes:
        kind = BY_CODE[code]
        yield f'<th class="kind" scope="col" title="{escape(kind.why)}">{escape(kind.name)}</th>'
    yield "</tr>"
    for step in steps:
        yield f'<tr><th class="step" scope="row">{escape(step or "start")}</th>'
        for code in codes:
            found = cells.get((step, code))
            if found is None:
                yield "<td></td>"
                continue
            text = " ".join(f"{_SIGNS[o]}{n}" for o, n in sorted(found.items()))
            worst = "x" if (step, code) in bad else _SIGNS[_worst(found)]
            yield f'<td class="{worst}" title="{escape(_told(found))}">{text}</td>'
        yield "</tr>"
    yield "</table></div>"


def _worst(found: Counter[str]) -> str:
    order = ("unfinished", "residue", "rolled_back", "complete")
    return next(word for word in order if word in found)


def _told(found: Counter[str]) -> str:
    return ", ".join(f"{count} {word.replace('_', ' ')}" for word, count in found.items())


def _charts(result: Result) -> Iterator[str]:
    if not result.edge_names:
        return
    from buildflow.diagrams import draw

    yield "<h2>The state machines, each edge with the kinds of fault it survived</h2>"
    for name, table in TABLES.items():
        if name == "power":  # thirty edges, each between two states: a list says more
            continue
        marked = _marked(table, result)
        yield f"<h3>{escape(name)}</h3>"
        yield draw("states", format="svg", machine=marked).decode()
    yield '<h2>Transitions</h2><div class="scroll"><table>'
    yield "<tr><th>transition</th><th>survived</th></tr>"
    for index, edge in enumerate(result.edge_names):
        kinds = result.taken.get(index)
        told = "never taken" if kinds is None else _survived(kinds)
        mark = ' class="x"' if kinds is None else ""
        yield f'<tr><th class="step">{escape(edge)}</th><td{mark}>{escape(told)}</td></tr>'
    yield "</table></div>"


def _survived(kinds: Counter[str]) -> str:
    codes = [BY_CODE[code].name for code in kinds if code]
    return f"{_kinds(len(codes))}: {', '.join(sorted(codes))}" if codes else "without a fault"


def _kinds(count: int) -> str:
    return "1 kind" if count == 1 else f"{count} kinds"


def _marked(table: Table[Any], result: Result) -> Table[Any]:
    """The same machine, each trigger with the number of kinds of fault that it survived."""
    rows: list[Row[Any]] = []
    for row in table.all_rows():
        index = next(
            i for i, (name, trigger, source, _) in enumerate(EDGES)
            if (name, trigger, source) == (table.name, row.trigger, row.source)
        )  # fmt: skip
        kinds = result.taken.get(index)
        count = "never taken" if kinds is None else _kinds(sum(1 for code in kinds if code))
        rows.append(replace(
            row, trigger=f"{row.trigger}: {count}", undo=None,
            undo_why=row.undo_why or "drawn as an edge of its own",
        ))  # fmt: skip
    return replace(table, rows=tuple(rows))
