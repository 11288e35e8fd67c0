"""The execution graph as SVG: nested boxes, data on the left, the way back on the right."""

from __future__ import annotations

from collections.abc import Mapping

from buildflow.diagrams.model import FlowModel, Node, NodeType
from buildflow.diagrams.overlay import NodeRun
from buildflow.diagrams.svg.legend import outcome_legend
from buildflow.diagrams.svg.rows import RAIL, Row, Rows, beside, box_words, lay_out
from buildflow.diagrams.svg.scene import SMALL, Scene, text_width
from buildflow.diagrams.theme import OUTCOMES, PATTERN_WORDS, outcome_name

_UNDO_GAP = 46.0
_BACK = "edge-compensating"
_NEXT = "edge-forward"


def flow_scene(flow: FlowModel, runs: Mapping[str, NodeRun] | None = None) -> Scene:
    """`flow`; with `runs`, how each step and each undo went."""
    known = runs or {}
    layout = lay_out(flow, {key: run.words() for key, run in known.items()})
    body = Scene()
    for row in layout.rows.values():
        if row.node.type is NodeType.FLOW:
            _cluster(body, flow, row, layout, known)
    _rails(body, layout)
    for row in layout.rows.values():
        if row.node.type is not NodeType.FLOW:
            _step(body, row, known.get(row.node.key))
    _order(body, flow, layout)
    _retries(body, flow, layout)
    _way_back(body, flow, layout, known)
    left = max(
        (12 + (rail.slot + 1) * RAIL + text_width(rail.words, SMALL) + 8 for rail in layout.rails),
        default=0.0,
    )
    scene = Scene(f"flow {flow.name}")
    scene.place(body, left, 0)
    legend = _legend(flow)
    scene.place(legend, 0, scene.bottom + 20)
    if known:
        names = [outcome_name(run.outcome, run.failed) for run in known.values()]
        scene.place(outcome_legend(names, max(scene.right, 420)), 0, scene.bottom + 8)
    return scene


def _cluster(
    scene: Scene, flow: FlowModel, row: Row, layout: Rows, runs: Mapping[str, NodeRun]
) -> None:
    run = runs.get(row.node.key)
    name = outcome_name(run.outcome, run.failed) if run else ""
    retried = any(c.type is NodeType.RETRY for c in flow.children(row.node.key))
    scene.rect(
        row.x,
        row.y,
        row.right - row.x,
        row.height,
        fill="nest",
        stroke=f"{name}-line" if name else "quiet",
        dash="8 3 2 3" if retried else "",
        weight=1.6 if retried else 1.2,
        radius=6,
    )
    mark = f"{OUTCOMES[name].mark} " if name else ""
    text = mark + box_words(row.node)
    scene.text(row.x + 10, row.y + 13, text, bold=True)
    after = row.x + 10 + text_width(text) + 14
    scene.text(after, row.y + 13, PATTERN_WORDS[row.node.pattern], size=SMALL, colour="quiet")
    if row.words:
        scene.text(row.right - 10, row.y + 13, row.words, size=SMALL, colour="ink", anchor="end")


def _step(scene: Scene, row: Row, run: NodeRun | None) -> None:
    name = outcome_name(run.outcome, run.failed) if run else ""
    look = OUTCOMES[name] if name else None
    round_ = row.height / 2 if row.node.type is NodeType.RETRY else 3.0
    scene.rect(
        row.x,
        row.y,
        row.right - row.x,
        row.height,
        fill=f"{name}-fill" if name else "box",
        stroke=f"{name}-line" if name else "ink",
        dash=look.dash if look else "",
        weight=1.8 if name else 1.3,
        radius=round_,
        tip=_tip(row.node, run),
    )
    mark = f"{look.mark} " if look else ""
    scene.text(row.x + 12, row.middle, mark + box_words(row.node))
    if row.words:
        scene.text(row.right - 10, row.middle, row.words, size=SMALL, anchor="end")


def _tip(node: Node, run: NodeRun | None) -> str:
    parts = [run.error] if run and run.error else []
    if node.effect:
        parts.append(f"makes: {node.effect}")
    if node.requires:
        parts.append(f"needs: {', '.join(node.requires)}")
    if node.provides:
        parts.append(f"gives: {', '.join(node.provides)}")
    if node.no_undo:
        parts.append(f"no undo: {node.no_undo}")
    return "; ".join(parts)


def _rails(scene: Scene, layout: Rows) -> None:
    """Each result from its giver, down its rail, into all that need it; dots where it turns off."""
    into: dict[str, list[float]] = {}
    for rail in layout.rails:
        row = layout.rows[rail.source]
        x = -12 - (rail.slot + 1) * RAIL
        colour = "data" if rail.names else "quiet"
        last = max(layout.rows[t].inlet for t in rail.targets)
        scene.path(
            [(row.x, rail.start), (x, rail.start), (x, last)],
            stroke=colour,
            radius=5,
            tip=rail.words,
        )
        scene.text(x - 6, rail.start, rail.words, size=SMALL, colour=colour, anchor="end")
        for target in rail.targets:
            into.setdefault(target, []).append(x)
            scene.circle(x, layout.rows[target].inlet, 2.6, fill=colour)
    for target, froms in into.items():
        goal = layout.rows[target]
        scene.path([(min(froms), goal.inlet), (goal.x - 6, goal.inlet)], stroke="data")
        scene.head((goal.x, goal.inlet), "right", "arrow", "data")


def _order(scene: Scene, flow: FlowModel, layout: Rows) -> None:
    """A short arrow down to what comes next."""
    for link in flow.order_links():
        if beside(flow, link.source, link.target):
            above, below = layout.rows[link.source], layout.rows[link.target]
            x = below.x + 24
            scene.path([(x, above.y + above.height), (x, below.y - 6)], stroke=_NEXT, weight=2)
            scene.head((x, below.y), "down", "arrow", _NEXT)


def _retries(scene: Scene, flow: FlowModel, layout: Rows) -> None:
    """From the end of each retry's scope back up to it."""
    for node in flow.walk():
        if node.type is not NodeType.RETRY or node.parent is None:
            continue
        scope, row = layout.rows[node.parent], layout.rows[node.key]
        x, last = scope.right - 11, scope.y + scope.height - 12
        inner = flow.children(node.parent)[-1]
        edge = layout.rows[inner.key].right
        start = min(last, layout.rows[inner.key].y + layout.rows[inner.key].height - 8)
        scene.path(
            [(edge, start), (x, start), (x, row.middle), (row.right + 7, row.middle)],
            stroke=_BACK,
            dash="6 4",
            radius=6,
            tip="a failure in here undoes all of it; then it is tried again",
        )
        scene.head((row.right, row.middle), "left", "arrow", _BACK)


def _way_back(scene: Scene, flow: FlowModel, layout: Rows, runs: Mapping[str, NodeRun]) -> None:
    """Each undo beside its step, numbered; arrows go up, as a rollback does."""
    back = flow.way_back()
    if not back:
        return
    x = layout.right + _UNDO_GAP
    texts = {node.key: _undo_words(place, node, runs.get(node.key)) for place, node in back}
    width = max(text_width(text, SMALL) for text in texts.values()) + 20
    scene.text(x, 13, "the way back", bold=True)
    before: tuple[int, Row] | None = None
    for place, node in sorted(back, key=lambda pair: -layout.rows[pair[1].key].y):
        row = layout.rows[node.key]
        run = runs.get(node.key)
        name = outcome_name(run.outcome, False) if run else ""
        if name not in ("undone", "undoing", "residue"):
            name = ""
        top = row.middle - 12
        scene.path([(row.right, row.middle), (x, row.middle)], stroke=_BACK, dash="2 3", weight=1)
        scene.rect(
            x,
            top,
            width,
            24,
            fill=f"{name}-fill" if name else "paper",
            stroke=f"{name}-line" if name else _BACK,
            weight=1.8 if name else 1.2,
            radius=12,
            tip=f"not before these are gone: {', '.join(node.undo_after)}"
            if node.undo_after
            else "",
        )
        scene.text(x + 10, row.middle, texts[node.key], size=SMALL)
        if before is not None and before[0] < place:
            scene.path(
                [(x + 24, before[1].middle - 12), (x + 24, top + 30)],
                stroke=_BACK,
                dash="6 4",
                weight=1.4,
            )
            scene.head((x + 24, top + 24), "up", "arrow", _BACK)
        before = (place, row)


def _undo_words(place: int, node: Node, run: NodeRun | None) -> str:
    text = f"{place}. {node.undo}"
    if run is not None and (run.undo_place is not None or run.residue):
        text += f" ({', '.join(run.words().split(', ')[1:])})"
    return text


def _legend(flow: FlowModel) -> Scene:
    scene = Scene()
    y = 8.0
    rows = [("what comes next", _NEXT, "", 2.0), ("a result, with its name", "data", "", 1.2)]
    rows.append(("the way back: undos, in this order", _BACK, "6 4", 1.4))
    for words, colour, dash, weight in rows:
        scene.path([(0, y), (37, y)], stroke=colour, dash=dash, weight=weight)
        scene.head((44, y), "right", "arrow", colour)
        scene.text(54, y, words, size=SMALL, colour="quiet")
        y += 20
    if any(node.type is NodeType.RETRY for node in flow.nodes):
        scene.rect(0, y - 7, 44, 14, fill="nest", stroke="quiet", dash="8 3 2 3", weight=1.6)
        words = "a retry's scope: when a step in it fails it is undone, and tried again"
        scene.text(54, y, words, size=SMALL, colour="quiet")
    return scene
