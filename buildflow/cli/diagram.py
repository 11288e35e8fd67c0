"""`buildflow diagram`: pictures of the running definitions, and of what a build made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from buildflow.cli.invocation import invocation_of
from buildflow.cli.picture import build_of, format_of, write
from buildflow.errors import BadInput

_Build = Annotated[
    str | None,
    typer.Option("--build", metavar="ID", help="Lay this build over it: what ran, and how long."),
]
_Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="text|mermaid|dot|svg|png|json",
        help="Text unless given, or what the file's ending says.",
    ),
]
_Output = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="FILE", help="Stdout unless given.")
]
_Flow = Annotated[
    str | None,
    typer.Option(
        "--flow",
        metavar="MODULE:FACTORY",
        help="Draw a flow of your own; the build flow unless given.",
    ),
]
_Layout = Annotated[
    str,
    typer.Option(
        "--layout",
        metavar="own|graphviz",
        help="Who places boxes and lines of an svg or png; graphviz needs its program dot.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    diagrams = typer.Typer(
        help="Draw the flow, the states, a build's run: from the running definitions.",
        no_args_is_help=True,
    )
    diagrams.command("call")(call)
    diagrams.command("flow")(flow)
    diagrams.command("states")(states)
    diagrams.command("timeline")(timeline)
    diagrams.command("diff")(diff)
    diagrams.command("snapshot")(snapshot)
    app.add_typer(diagrams, name="diagram")


def call(
    ctx: typer.Context,
    style: Annotated[
        str,
        typer.Option(
            metavar="documented|tree", help="Boxes as in the document, or one line a step."
        ),
    ] = "documented",
    depth: Annotated[
        int | None, typer.Option(metavar="N", help="Open the boxes N levels further.")
    ] = None,
    build: _Build = None,
    format: _Format = None,
    output: _Output = None,
    flow: _Flow = None,
    layout: _Layout = "own",
) -> int:
    """Draw the call diagram: each step in its box, nested as it is called."""
    return _draw(
        ctx, "call", build, format, output, flow=flow, layout=layout, style=style, depth=depth
    )


def flow(
    ctx: typer.Context,
    depth: Annotated[
        int | None, typer.Option(metavar="N", help="Show N levels of nesting (text only).")
    ] = None,
    build: _Build = None,
    format: _Format = None,
    output: _Output = None,
    flow: _Flow = None,
    layout: _Layout = "own",
) -> int:
    """Draw the execution graph: nested flows, the data that binds them, and the way back."""
    return _draw(ctx, "flow", build, format, output, flow=flow, layout=layout, depth=depth)


def states(
    ctx: typer.Context,
    machine: Annotated[
        str | None,
        typer.Argument(metavar="[vm|task|power|joint]", help="The first three unless given."),
    ] = None,
    build: _Build = None,
    format: _Format = None,
    output: _Output = None,
    layout: _Layout = "own",
) -> int:
    """Draw the state machines, with the edges that a build took."""
    return _draw(ctx, "states", build, format, output, layout=layout, machine=machine)


def timeline(
    ctx: typer.Context,
    build: _Build = None,
    format: _Format = None,
    output: _Output = None,
    flow: _Flow = None,
    layout: _Layout = "own",
) -> int:
    """Draw the vm, task and power states over the steps; with --build in real time."""
    return _draw(ctx, "timeline", build, format, output, flow=flow, layout=layout)


def diff(
    ctx: typer.Context,
    old: Annotated[str, typer.Argument(metavar="A", help="A git revision or a saved JSON file.")],
    new: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    what: Annotated[
        str | None, typer.Option(metavar="flow|vm|task|power|joint", help="Compare this part only.")
    ] = None,
    builds: Annotated[
        bool, typer.Option("--builds", help="Judge each build in flight in the store as well.")
    ] = False,
    format: Annotated[str | None, typer.Option(metavar="text|json", help="Text unless given.")] = (
        None
    ),
    output: _Output = None,
) -> int:
    """Compare two versions of the flow and the states, and say which builds in flight survive."""
    from buildflow.diagrams import diff as compare

    invocation = invocation_of(ctx)
    chosen = format_of(invocation, format, output)
    in_flight: list[Any] = []
    if builds:
        with invocation.open_engine() as engine:
            for row in engine.store.unfinished():
                shown = engine.show(row["id"])
                in_flight.append({**shown, "history": engine.history(row["id"])})
    data = compare(old, new, format=chosen, what=what, builds=in_flight, say=invocation.say)
    write(invocation, data, output, chosen)
    return 0


def snapshot(ctx: typer.Context, output: _Output = None, flow: _Flow = None) -> int:
    """Write flow and states as JSON, for `diagram diff` to compare with later."""
    import json

    from buildflow.diagrams.diff.sources import current, dump

    invocation = invocation_of(ctx)
    saved = dump(current(flow)) if flow is not None else dump(current())
    data = json.dumps(saved, indent=2, ensure_ascii=False).encode() + b"\n"
    write(invocation, data, output, "json")
    return 0


def _draw(
    ctx: typer.Context,
    kind: str,
    build: str | None,
    format: str | None,
    output: Path | None,
    *,
    flow: str | None = None,
    **options: Any,
) -> int:
    if build is not None and flow is not None:
        raise BadInput("give --build or --flow, not both: a build says which flow it is of")
    invocation = invocation_of(ctx)
    chosen = format_of(invocation, format, output)
    shown = build_of(invocation, build)
    from buildflow.diagrams import draw

    data = draw(kind, format=chosen, build=shown, flow=flow, **options)
    write(invocation, data, output, chosen)
    return 0
