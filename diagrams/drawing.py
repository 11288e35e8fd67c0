"""`draw`: a kind of picture, in a format, of a flow or of the states, with or without a build."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

from buildflow.diagrams import dot, mermaid, svg, text
from buildflow.diagrams.extract import (
    extract_flow,
    extract_joint,
    extract_machine,
    find_flow,
    plan,
    recorded,
)
from buildflow.diagrams.graphviz import Layout, laid_out
from buildflow.diagrams.model import FlowModel, MachineModel, Run, Timeline
from buildflow.diagrams.model.codec import dumps, to_data
from buildflow.diagrams.overlay import MachineRun, NodeRun, machine_run, node_runs
from buildflow.diagrams.png import rasterise
from buildflow.diagrams.selection import Call, Style, box_text, select
from buildflow.errors import BadInput
from buildflow.states import TABLES, Table

S = TypeVar("S", bound=StrEnum)


class Format(StrEnum):
    """What a picture can be written as."""

    TEXT = "text"
    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"
    PNG = "png"
    JSON = "json"


KINDS: Final = ("call", "flow", "states", "timeline")
MACHINES: Final = (*TABLES, "joint")


def draw(
    kind: str,
    *,
    format: str = "text",
    style: str = "documented",
    depth: int | None = None,
    machine: str | Table[Any] | None = None,
    build: Mapping[str, Any] | None = None,
    flow: Any = None,
    now: datetime | None = None,
    layout: str = "own",
) -> bytes:
    """One picture, as bytes: text formats in UTF-8.

    * `kind`: call, flow, states or timeline.
    * `format`: text, mermaid, dot, svg, png or json.
    * `style`, `depth`: for call; see diagrams/selection.py. `depth` limits the text of flow too.
    * `machine`: for states: vm, task, power, joint or a Table; all of the first three unless given.
    * `build`: the dict of `buildflow show ID --json` with its `history`, to be laid over.
    * `flow`: a TaskFlow flow or `package.module:factory`; the build's own, or the build flow.
    * `now`: how far a build that still goes on has come; this moment unless given.
    * `layout`: own or graphviz, for svg and png; see diagrams/graphviz.py.

    Raises BadInput for anything else, DefinitionError for a flow that does not compile, and
    HostUnusable when a format needs what is not installed.
    """
    if kind not in KINDS:
        raise BadInput(f"no diagram is called {kind!r}: choose one of {', '.join(KINDS)}")
    if depth is not None and depth < 0:
        raise BadInput(f"depth is {depth}: give 0 or more")
    subject = Subject.of(build=build, flow=flow, now=now)
    chosen = _choose(Format, format, "format")
    by = _choose(Layout, layout, "layout")
    if by is Layout.GRAPHVIZ and chosen not in (Format.SVG, Format.PNG):
        raise BadInput(f"Graphviz lays out svg and png, not {chosen}")
    if kind == "states":
        return _written(_states(subject, machine), chosen, by)
    if kind == "timeline":
        return _written(_timeline(subject), chosen, by)
    if kind == "flow":
        if depth is not None and chosen is not Format.TEXT:
            raise BadInput(f"depth limits the text of a flow only; {chosen} shows all of it")
        return _written(_flow(subject, depth), chosen, by)
    return _written(_call(subject, _choose(Style, style, "style"), depth), chosen, by)


@dataclass(frozen=True)
class Subject:
    """What is drawn: a flow, and the build that is laid over it, if any."""

    flow: FlowModel
    run: Run | None

    @classmethod
    def of(
        cls,
        *,
        build: Mapping[str, Any] | None = None,
        flow: Any = None,
        now: datetime | None = None,
    ) -> Subject:
        """Read a build's dict and make its flow."""
        run = Run.parse(build, now or datetime.now(UTC)) if build is not None else None
        if flow is None:
            flow = _own_flow(build)
        elif isinstance(flow, str):
            flow = find_flow(flow)
        return cls(extract_flow(flow), run)

    @cached_property
    def runs(self) -> dict[str, NodeRun] | None:
        """What the run says of each node."""
        return node_runs(self.flow, self.run) if self.run is not None else None


def _own_flow(build: Mapping[str, Any] | None) -> Any:
    """The flow that a build was made from; without one, the build flow with its defaults."""
    where = str((build or {}).get("flow") or "buildflow.flows.build:build_flow")
    inputs = (build or {}).get("inputs") or {}
    if not isinstance(inputs, Mapping):
        raise BadInput("not a build: `inputs` is not an object")
    return find_flow(where, **inputs)


def _choose(options: type[S], value: str, what: str) -> S:
    try:
        return options(value)
    except ValueError:
        known = ", ".join(options)
        raise BadInput(f"no {what} is called {value!r}: choose one of {known}") from None


@dataclass(frozen=True)
class _Picture:
    """How one picture is written in each format; the SVG serves the PNG too."""

    text: Callable[[], str]
    mermaid: Callable[[], str]
    dot: Callable[[], str]
    scene: Callable[[], svg.Scene]
    json: Callable[[], str]


def _written(picture: _Picture, format: Format, layout: Layout) -> bytes:
    if layout is Layout.GRAPHVIZ:
        return laid_out(picture.dot(), format.value)
    if format is Format.PNG:
        return rasterise(picture.scene().svg())
    if format is Format.SVG:
        return picture.scene().svg().encode()
    write: Callable[[], str] = getattr(picture, format.value)
    return write().encode()


def _call(subject: Subject, style: Style, depth: int | None) -> _Picture:
    top, runs = select(subject.flow, style, depth), subject.runs
    as_text = text.boxes if style is Style.DOCUMENTED else text.tree
    return _Picture(
        text=lambda: as_text(top, runs),
        mermaid=lambda: mermaid.call_mermaid(top, runs),
        dot=lambda: dot.call_dot(top, runs),
        scene=lambda: svg.call_scene(top, style, runs, f"call diagram of {subject.flow.name}"),
        json=lambda: _json({"kind": "call", "version": 1, "box": _call_data(top, runs)}),
    )


def _call_data(call: Call, runs: Mapping[str, NodeRun] | None) -> dict[str, Any]:
    data: dict[str, Any] = {"name": call.node.name, "text": box_text(call.node)}
    run = runs.get(call.node.key) if runs else None
    if run is not None:
        data["outcome"], data["words"] = run.outcome.value, run.words()
    return {**data, "calls": [_call_data(inner, runs) for inner in call.calls]}


def _json(data: Any) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def _flow(subject: Subject, depth: int | None) -> _Picture:
    flow, runs = subject.flow, subject.runs
    return _Picture(
        text=lambda: text.flow_text(flow, runs, depth),
        mermaid=lambda: mermaid.flow_mermaid(flow, runs),
        dot=lambda: dot.flow_dot(flow, runs),
        scene=lambda: svg.flow_scene(flow, runs),
        json=lambda: dumps(flow, subject.run),
    )


def _timeline(subject: Subject) -> _Picture:
    timeline: Timeline = (
        recorded(subject.flow, subject.run) if subject.run is not None else plan(subject.flow)
    )
    return _Picture(
        text=lambda: text.timeline_text(timeline),
        mermaid=lambda: mermaid.timeline_mermaid(timeline),
        dot=lambda: dot.timeline_dot(timeline),
        scene=lambda: svg.timeline_scene(timeline),
        json=lambda: dumps(timeline),
    )


def machines_of(
    subject: Subject, machine: str | Table[Any] | None
) -> list[tuple[MachineModel, MachineRun | None]]:
    """The machines to draw, each with what the subject's run says of it."""
    models: list[MachineModel] = []
    if machine is None:
        models = [extract_machine(table, subject.flow) for table in TABLES.values()]
    elif isinstance(machine, Table):
        models = [extract_machine(machine)]
    elif machine == "joint":
        models = [extract_joint(subject.flow)]
    elif machine in TABLES:
        models = [extract_machine(TABLES[machine], subject.flow)]
    else:
        known = ", ".join(MACHINES)
        raise BadInput(f"no machine is called {machine!r}: choose one of {known}")
    run = subject.run
    return [
        (m, machine_run(m, run, m.name) if run and m.name in MACHINES else None) for m in models
    ]


def _states(subject: Subject, machine: str | Table[Any] | None) -> _Picture:
    machines = machines_of(subject, machine)
    pictures = [_machine(model, run) for model, run in machines]
    if len(pictures) == 1:
        return pictures[0]
    return _Picture(
        text=lambda: "\n".join(picture.text() for picture in pictures),
        mermaid=lambda: mermaid.machines_mermaid(machines),
        dot=lambda: dot.machines_dot(machines),
        scene=lambda: svg.stacked([picture.scene() for picture in pictures], "states"),
        json=lambda: _json(
            {"kind": "machines", "version": 1, "machines": [to_data(m) for m, _ in machines]}
        ),
    )


def _machine(model: MachineModel, run: MachineRun | None) -> _Picture:
    return _Picture(
        text=lambda: text.chart(model, run),
        mermaid=lambda: mermaid.machine_mermaid(model, run),
        dot=lambda: dot.machine_dot(model, run),
        scene=lambda: svg.chart_scene(model, run),
        json=lambda: dumps(model),
    )


def save(data: bytes, path: str | Path) -> None:
    """Write a picture to a file. Raises BadInput when that can't be done."""
    try:
        Path(path).write_bytes(data)
    except OSError as error:
        raise BadInput(f"can't write {path}: {error.strerror or error}") from None


__all__ = ["KINDS", "MACHINES", "Format", "Subject", "draw", "save"]
