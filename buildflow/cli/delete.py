"""`buildflow delete`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from buildflow.cli.invocation import invocation_of
from buildflow.cli.outcome import COMPLETE, RESIDUE, UNUSABLE, called, tell_lines
from buildflow.cli.outcome import residue as residue_lines
from buildflow.cli.work import Work, flow_of, working

if TYPE_CHECKING:
    from buildflow.engine.store import Row


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("delete")(delete)


def delete(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="ID", help="A build's id or name.")],
) -> int:
    """Delete a machine and all that it has, by the steps that made it, undone.

    Works at any moment: a build that is still running is stopped and rolled back.
    """
    invocation = invocation_of(ctx)
    with working(invocation) as work:
        shown = _delete(work, name)
    if invocation.json:
        invocation.document(shown)
    if shown["residue"]:
        count = len(shown["residue"])
        first = f"{called(shown)} is not all gone: {count} of its effects could not be undone"
        tell_lines("stderr", [first, *residue_lines(shown)], quiet=invocation.quiet)
        return RESIDUE
    if shown["status"] not in ("rolled_back",):
        tell_lines("stderr", [f"{called(shown)} is {shown['status']}, not deleted"])
        return UNUSABLE
    if not invocation.json and not invocation.quiet:
        tell_lines("stdout", [f"{called(shown)} is deleted, nothing is left"])
    return COMPLETE


def _delete(work: Work, name: str) -> Row:
    row = work.engine.store.find(name)
    flow = flow_of(row)
    if row["status"] == "complete":
        flow = work.engine.removal(row, flow)
    work.follow(row, flow, {"rolling_back": "being deleted", "rolled_back": "deleted"})
    with work.interruption.going_on():
        shown = work.engine.delete(row["id"]).wait()
    work.progress.ended(row["id"], shown["status"])
    return shown
