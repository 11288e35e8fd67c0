"""`report`: everything about one build as one HTML page that needs nothing else.

No script, no network, no font: a page that can be mailed, archived and opened in ten years. It
follows the reader's dark or light, is used by keyboard, and fits a telephone: what is wider than
the screen scrolls in a frame of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

from buildflow.diagrams import svg
from buildflow.diagrams.drawing import Subject, machines_of
from buildflow.diagrams.extract import recorded
from buildflow.diagrams.glyphs import shown
from buildflow.diagrams.model import NodeType, Run
from buildflow.diagrams.overlay import NodeRun, seconds
from buildflow.diagrams.selection import Call, Style, box_text, select
from buildflow.diagrams.svg.scene import COLOURS, dark_rules
from buildflow.diagrams.theme import OUTCOMES, outcome_name
from buildflow.errors import BadInput

_CSS = """
:root{color-scheme:light dark;%(light)s}
@media (prefers-color-scheme:dark){:root{%(dark)s}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main,header,footer{max-width:84rem;margin:0 auto;padding:0 1rem}
h1{font-size:1.6rem;margin:1.2rem 0 .2rem;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:2rem 0 .6rem;border-bottom:1px solid var(--rule);padding-bottom:.2rem}
nav ul{display:flex;flex-wrap:wrap;gap:.2rem 1rem;padding:0;list-style:none;margin:.6rem 0}
a{color:var(--edge-forward)}
.skip{position:absolute;left:-99rem}.skip:focus{left:1rem;top:.5rem;background:var(--paper)}
:focus-visible{outline:3px solid var(--edge-forward);outline-offset:2px}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem;margin:.6rem 0}
dt{color:var(--quiet)}dd{margin:0;overflow-wrap:anywhere}
.fault{border:2px solid var(--failed-line);background:var(--failed-fill);padding:.6rem 1rem;
border-radius:6px;overflow-wrap:anywhere}
.wide{overflow-x:auto;border:1px solid var(--rule);border-radius:6px;max-width:100%%}
.wide svg{display:block;max-width:none}
table{border-collapse:collapse;width:100%%;font-size:.9rem}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid var(--rule);vertical-align:top}
th{white-space:nowrap}td{overflow-wrap:break-word;max-width:28rem}
code{overflow-wrap:anywhere;font-size:.9em}
code{font-family:'DejaVu Sans Mono',Menlo,Consolas,monospace}
.tree,.tree ul{list-style:none;margin:0;padding-left:1.1rem}.tree{padding-left:0}
.tree li{border-left:2px solid var(--rule);padding:.1rem 0 .1rem .6rem}
.tree details{margin:0}.tree summary{font-weight:400;padding:0}
.tree .w{color:var(--quiet);font-size:.85em}.m{font-weight:700}
details{margin:.6rem 0}summary{cursor:pointer;padding:.3rem 0;font-weight:600}
footer{color:var(--quiet);font-size:.85rem;margin-top:2rem;padding-bottom:2rem}
@media print{details>*{display:block}.wide{overflow:visible}}
"""

_STATUS = {
    "queued": "It waits to be started.",
    "running": "It is still at work.",
    "rolling_back": "It is being rolled back.",
    "complete": "It is built: everything that was asked for is there.",
    "rolled_back": "It was rolled back: nothing of it is left.",
    "residue": "It was rolled back, but something is left: run buildflow cleanup.",
}


def report(build: Mapping[str, Any], *, flow: Any = None, now: datetime | None = None) -> str:
    """The page for one build's dict (see `draw`). Raises BadInput when it is no build."""
    subject = Subject.of(build=build, flow=flow, now=now)
    if subject.run is None:
        raise BadInput("a report needs a build")
    return "\n".join(_page(subject, subject.run)) + "\n"


def _page(subject: Subject, run: Run) -> Iterator[str]:
    title = escape(shown(f"{run.name or run.id}: {run.status}"))
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    yield f"<title>{title}</title>"
    css = _CSS % {"light": _variables(0), "dark": _variables(1)}
    yield f"<style>{css}{_marks()}{dark_rules(COLOURS)}</style>"
    yield "</head><body>"
    yield '<a class="skip" href="#call">Skip to the call tree</a>'
    yield f"<header><h1>{title}</h1>"
    yield f"<p>{escape(_STATUS.get(run.status, shown(run.status)))}</p>"
    yield from _facts(run)
    sections = list(_sections(subject, run))
    links = "".join(f'<li><a href="#{key}">{name}</a></li>' for key, name, _ in sections)
    yield f'<nav aria-label="Sections"><ul>{links}</ul></nav></header><main>'
    for key, name, lines in sections:
        yield f'<section id="{key}" aria-labelledby="h-{key}"><h2 id="h-{key}">{name}</h2>'
        yield from lines
        yield "</section>"
    yield "</main>"
    yield f"<footer>Build <code>{escape(shown(run.id))}</code>, drawn by buildflow.</footer>"
    yield "</body></html>"


def _variables(side: int) -> str:
    return "".join(f"--{name}:{colours[side]};" for name, colours in COLOURS.items())


def _marks() -> str:
    return "".join(f".m.{name}{{color:var(--{name}-line)}}" for name in OUTCOMES)


def _facts(run: Run) -> Iterator[str]:
    pairs = [
        ("vm state", run.vm_state),
        ("task state", run.task_state),
        ("power state", run.power_state),
        ("host", f"{run.host}, attempt {run.attempt}" if run.host else "none yet"),
        ("began", run.origin or "not yet"),
        ("has taken" if run.over else "has taken so far", seconds(run.now)),
    ]
    cells = "".join(f"<dt>{name}</dt><dd>{escape(shown(value))}</dd>" for name, value in pairs)
    yield f"<dl>{cells}</dl>"


def _sections(subject: Subject, run: Run) -> Iterator[tuple[str, str, list[str]]]:
    if run.fault_type or run.fault_message or run.errors:
        yield "fault", "The fault", list(_fault(run))
    runs = subject.runs
    top = select(subject.flow, Style.TREE, None)
    yield "call", "The call tree", ['<ul class="tree">', *_branch(top, runs or {}), "</ul>"]
    times = svg.timeline_scene(recorded(subject.flow, run))
    yield "timeline", "The timeline", [_wide(times)]
    yield "states", "The states", list(_states(subject))
    yield (
        "flow",
        "The flow, and the way back",
        [_folded("The execution graph", svg.flow_scene(subject.flow, runs))],
    )
    yield "steps", "Steps", [_steps(subject)]
    yield "effects", "Effects", [_effects(run)]
    yield "history", "History", [_history(run)]


def _fault(run: Run) -> Iterator[str]:
    step = f" in step <code>{escape(shown(run.fault_step))}</code>" if run.fault_step else ""
    kind, message = escape(shown(run.fault_type)), escape(shown(run.fault_message))
    yield f'<p class="fault"><strong>✗ {kind}</strong>{step}: {message}</p>'
    if run.errors:
        items = "".join(f"<li>{escape(shown(error))}</li>" for error in run.errors)
        yield f"<p>And after it:</p><ul>{items}</ul>"


def _branch(call: Call, runs: Mapping[str, NodeRun]) -> Iterator[str]:
    """One box of the call tree as an item of a list, so that it wraps on a narrow screen."""
    run = runs.get(call.node.key)
    name = outcome_name(run.outcome, run.failed) if run else ""
    mark = f'<span class="m {name}">{OUTCOMES[name].mark}</span> ' if name else ""
    words = f' <span class="w">{escape(shown(run.words()))}</span>' if run else ""
    line = f"{mark}<code>{escape(shown(box_text(call.node)))}</code>{words}"
    if not call.calls:
        yield f"<li>{line}</li>"
        return
    yield f"<li><details open><summary>{line}</summary><ul>"
    for inner in call.calls:
        yield from _branch(inner, runs)
    yield "</ul></details></li>"


def _states(subject: Subject) -> Iterator[str]:
    for name, machine in (("joint", "joint"), ("others", None)):
        for model, taken in machines_of(subject, machine):
            label = "vm, task and power together" if name == "joint" else f"{model.name} states"
            yield _folded(label, svg.chart_scene(model, taken), is_open=name == "joint")


def _wide(scene: svg.Scene) -> str:
    """A picture in a frame that scrolls, and that the keyboard can reach."""
    label = escape(shown(scene.title), quote=True)
    picture = scene.svg(standalone=False)
    return f'<div class="wide" tabindex="0" role="region" aria-label="{label}">{picture}</div>'


def _folded(summary: str, scene: svg.Scene, *, is_open: bool = False) -> str:
    opened = " open" if is_open else ""
    return f"<details{opened}><summary>{escape(summary)}</summary>{_wide(scene)}</details>"


def _table(name: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(shown(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    if not body:
        return "<p>None.</p>"
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{name}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _steps(subject: Subject) -> str:
    runs, rows = subject.runs or {}, []
    for node in subject.flow.walk():
        run = runs.get(node.key)
        if node.type is NodeType.TASK and run is not None:
            look = OUTCOMES[outcome_name(run.outcome, run.failed)]
            undo = node.undo or f"none: {node.no_undo or 'it declares none'}"
            rows.append((f"{look.mark}\N{NO-BREAK SPACE}{node.text}", run.words(), undo, run.error))
    heads = ("step", "how it went", "its undo", "error")
    if not any(row[3] for row in rows):
        return _table("Steps", heads[:3], [row[:3] for row in rows])
    return _table("Steps", heads, rows)


def _effects(run: Run) -> str:
    rows = [(e.state, e.kind, e.step, e.external_id, e.reason) for e in run.effects]
    return _table("Effects", ("state", "kind", "made by", "known outside as", "reason"), rows)


def _history(run: Run) -> str:
    rows = [
        (
            f"{line.at:.3f}\N{NO-BREAK SPACE}s" if line.at is not None else "",
            line.trigger,
            line.step,
            line.vm_state,
            line.task_state,
            line.power_state,
        )
        for line in run.history
    ]
    return _table("History", ("at", "trigger", "step", "vm", "task", "power"), rows)
