"""`buildflow report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from buildflow.cli.invocation import invocation_of
from buildflow.cli.picture import build_of, write


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("report")(report)


def report(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="ID", help="A build's id or name.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Stdout unless given.")
    ] = None,
) -> int:
    """Write one build as a web page that needs nothing else: no script, no network."""
    from buildflow.diagrams import report as page

    invocation = invocation_of(ctx)
    shown = build_of(invocation, name)
    assert shown is not None
    text = page(shown)
    if invocation.json and output is None:
        invocation.document({"html": text})
    else:
        write(invocation, text.encode(), output, "html")
    return 0
