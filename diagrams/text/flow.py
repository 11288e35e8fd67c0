"""The execution graph as text: the nesting, what each step needs and gives, and the way back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from buildflow.diagrams.glyphs import columns, padded, shown
from buildflow.diagrams.model import FlowModel, Node, NodeType
from buildflow.diagrams.overlay import NodeRun
from buildflow.diagrams.selection import Call, Style, box_text, select
from buildflow.diagrams.text.tree import branches
from buildflow.diagrams.theme import OUTCOMES, PATTERN_WORDS, outcome_name


def flow_text(
    flow: FlowModel, runs: Mapping[str, NodeRun] | None = None, depth: int | None = None
) -> str:
    """The whole flow; with `runs`, how each step went, and the undos that ran."""
    lines = list(_steps(flow, runs or {}, depth))
    lines.append("")
    lines.extend(_way_back(flow, runs or {}))
    lines.extend(_without_undo(flow))
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _steps(flow: FlowModel, runs: Mapping[str, NodeRun], depth: int | None) -> Iterator[str]:
    given = {name: link.source for link in flow.data_links() for name in link.names}

    def text(call: Call) -> str:
        run = runs.get(call.node.key)
        mark = f"{OUTCOMES[outcome_name(run.outcome, run.failed)].mark} " if run else ""
        return mark + shown(box_text(call.node))

    lines = list(branches(select(flow, Style.TREE, depth), text))
    width = max(columns(line) for _, line in lines)
    for call, line in lines:
        facts = [*_facts(call.node, given)]
        if call.node.key in runs:
            facts.insert(0, runs[call.node.key].words())
        yield f"{padded(line, width)}  {shown('; '.join(facts))}"


def _facts(node: Node, given: Mapping[str, str]) -> Iterator[str]:
    if node.type is NodeType.FLOW:
        yield PATTERN_WORDS[node.pattern]
        return
    if node.type is NodeType.RETRY:
        yield "tries all beside it again when one of them fails"
    inside = [name for name in node.requires if name in given]
    if inside:
        yield "needs " + ", ".join(inside)
    if node.provides:
        yield "gives " + ", ".join(node.provides)
    if node.effect:
        yield f"makes: {node.effect}"
    for when, triggers in (("start", node.on_start), ("end", node.on_done)):
        if triggers:
            yield f"at its {when} {' + '.join(triggers)}"


def _way_back(flow: FlowModel, runs: Mapping[str, NodeRun]) -> Iterator[str]:
    back = flow.way_back()
    if not back:
        yield "The way back: no step has an undo."
        return
    yield "The way back: undos in the order in which a rollback runs them"
    places = [place for place, _ in back]
    width = max(columns(shown(node.text)) for _, node in back)
    for place, node in back:
        facts = [node.undo]
        if node.undo_after:
            facts.append(f"not before these are gone: {', '.join(node.undo_after)}")
        if places.count(place) > 1:
            facts.append("in any order with its equals")
        run = runs.get(node.key)
        if run is not None and (run.undo_place or run.residue):
            facts.append(run.words())
        yield f"{place:>4}. {padded(shown(node.text), width)}  {shown('; '.join(facts))}"


def _without_undo(flow: FlowModel) -> Iterator[str]:
    bare = [node for node in flow.tasks() if not node.undo]
    if not bare:
        return
    yield ""
    yield "Without an undo, and why"
    width = max(columns(shown(node.text)) for node in bare)
    for node in bare:
        reason = node.no_undo or "it declares none"
        yield f"      {padded(shown(node.text), width)}  {shown(reason)}"
