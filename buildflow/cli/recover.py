"""`buildflow resume`, `cancel`, `cleanup` and `gc`: after a crash, or when something is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from buildflow.cli.invocation import Invocation, invocation_of
from buildflow.cli.outcome import (
    COMPLETE,
    RESIDUE,
    UNUSABLE,
    called,
    exit_code,
    tell_build,
    tell_lines,
)
from buildflow.cli.work import flow_of, working
from buildflow.errors import BuildflowError, StaleOwner

if TYPE_CHECKING:
    from buildflow.engine.store import Row

# how long `cancel` waits for the process that runs the build
CANCEL_WAIT_S = 60.0


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command("resume")(resume)
    app.command("cancel")(cancel)
    app.command("cleanup")(cleanup)
    app.command("gc")(gc)


def resume(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="Which builds; all that were left unless given."),
    ] = None,
    revert: Annotated[
        bool, typer.Option("--revert", help="Roll them back instead of going on.")
    ] = False,
) -> int:
    """Go on with builds whose process died, or roll them back.

    Exit code: that of the build; of several the gravest (4, 3, 1, 0).
    """
    invocation = invocation_of(ctx)
    with working(invocation) as work:
        engine = work.engine
        if names:
            rows = [engine.store.find(name) for name in names]
        else:
            rows = [row for row in engine.store.unfinished() if not engine.owner_lives(row)]
        for row in rows:
            work.follow(row, flow_of(row))
        with work.interruption.turning_round(engine.interrupt):
            handles = engine.resume([row["id"] for row in rows] if names else None, revert=revert)
            shown, errors = work.wait(handles)
        interrupted = work.interruption.happened
    if not shown and not invocation.json and not invocation.quiet:
        tell_lines("stdout", ["nothing to resume"])
    return _end(invocation, shown, errors, interrupted=interrupted, wanted_back=revert)


def cancel(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="ID", help="A build's id or name.")],
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Return at once, while it still rolls back.")
    ] = False,
) -> int:
    """Stop a running build, wherever it runs, and have it rolled back.

    Needs the store alone. Exit code 0 when it has been rolled back (or, with --no-wait, asked to),
    1 when it had ended already, 3 when something of it is left, 4 when nobody is there to do it.
    """
    invocation = invocation_of(ctx)
    with invocation.open_engine() as engine:
        row = engine.store.find(name)
        accepted = engine.cancel(row["id"])
        shown = engine.show(row["id"])
        if accepted and not no_wait:
            with invocation.waiting(f"waiting for {called(shown)} to be rolled back"):
                shown = _see_rolled_back(engine, row["id"])
        ownerless = shown["status"] in ("queued", "running", "rolling_back") and (
            not engine.owner_lives(engine.store.find(row["id"]))
        )
        has_job = _has_job(engine, row["id"])
    if invocation.json:
        invocation.document(shown)
    what = called(shown)
    if not accepted:
        tell_lines("stderr", [f"{what} had ended already: it is {shown['status']}"])
        return 1
    if shown["residue"]:
        tell_build(invocation, shown)
        return RESIDUE
    if ownerless and not (has_job and no_wait):
        who = "no conductor has taken it yet" if has_job else "its process has died"
        tell_lines(
            "stderr", [f"{what} will be rolled back; {who}: `buildflow resume {what}` does it"]
        )
        return UNUSABLE
    if not invocation.json and not invocation.quiet:
        if shown["status"] == "rolled_back":
            told = "is rolled back"
        elif ownerless:
            told = "will be rolled back by the next conductor that is free"
        else:
            told = "is being rolled back"
        tell_lines("stdout", [f"{what} {told}"])
    return COMPLETE


def cleanup(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="Which build; all with residue unless given."),
    ] = None,
) -> int:
    """Go on with the undo of what a rollback or a delete could not remove.

    Exit code 0 when nothing is left, 3 when something still is.
    """
    invocation = invocation_of(ctx)
    with working(invocation) as work:
        engine = work.engine
        if name is not None:
            rows = [engine.store.find(name)]
        else:
            rows = [row for row in engine.store.unfinished() if row["status"] == "residue"]
        for row in rows:
            work.follow(row, flow_of(row))
        with work.interruption.going_on():
            handles = [handle for row in rows for handle in engine.cleanup(row["id"])]
            shown, errors = work.wait(handles)
    if invocation.json:
        invocation.document(shown[0] if name is not None else shown)
    for error in errors:
        tell_lines("stderr", [f"buildflow: {error}"])
    left = [build for build in shown if build["residue"]]
    for build in left:
        tell_build(invocation, build)
    if errors:
        return UNUSABLE
    if left:
        return RESIDUE
    if not invocation.json and not invocation.quiet:
        for build in shown:
            tell_lines("stdout", [f"{called(build)}: nothing is left"])
        if not shown:
            tell_lines("stdout", ["nothing to clean up"])
    return COMPLETE


def gc(
    ctx: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List only; touch nothing.")] = False,
) -> int:
    """Compare the world with the store, both ways, and remove our strays.

    Strays exist and should not; lost things should exist and do not; foreign ones carry our tags
    but belong to another store, and are never touched. The power state of each machine is noted as
    its hypervisor now reports it. Exit code 3 when a stray is left.
    """
    invocation = invocation_of(ctx)
    with working(invocation) as work, work.interruption.going_on():
        audit = work.engine.gc(dry_run=dry_run).to_json()
    if invocation.json:
        invocation.document(audit)
    elif not invocation.quiet:
        tell_lines("stdout", list(_audit_lines(audit)) or ["world and store agree"])
    remaining = audit["strays"] if dry_run else audit["failed"]
    return RESIDUE if remaining else COMPLETE


def _audit_lines(audit: dict[str, list[dict[str, Any]]]) -> Any:
    for each in audit["power"]:
        yield f"power    build {each['build']} was {each['was']}, and is {each['now']}"
    for heading in ("strays", "removed", "failed", "lost", "unknown", "foreign"):
        for thing in audit[heading]:
            reason = f": {thing['reason']}" if thing.get("reason") else ""
            build = f" of build {thing['build']}" if thing.get("build") else ""
            yield f"{heading:<8} {thing['kind']} {thing['id'] or thing['key']}{build}{reason}"


def _see_rolled_back(engine: Any, build: str) -> Row:
    """Wait for whoever does it. What nobody has begun is ended here: there is nothing to undo."""
    while True:
        shown = _until_ended(engine, build)
        if shown["status"] != "queued":
            return shown
        try:
            row: Row = engine.resume([build], revert=True)[0].wait()
        except StaleOwner:
            continue  # somebody has taken it up just now
        except BuildflowError:
            return shown  # no host can be used from here
        return row


def _until_ended(engine: Any, build: str) -> Row:
    """Watch the store until the build has ended, its process has died, or we have waited enough.

    One that conductors carry out is taken up by the next of them.
    """
    from buildflow.engine.core import ENDED

    deadline = engine.clock.monotonic() + CANCEL_WAIT_S
    while True:
        row: Row = engine.store.find(build)
        begun = row["status"] != "queued"
        awaited = engine.owner_lives(row) or (begun and _awaited(engine, build))
        over = row["status"] in ENDED or not awaited
        if over or engine.clock.monotonic() > deadline:
            shown: Row = engine.show(build)
            return shown
        engine.clock.sleep(0.1)


def _awaited(engine: Any, build: str) -> bool:
    """Whether a conductor that lives may take it up."""
    from buildflow.distributed.capacity import Capacity

    return _has_job(engine, build) and Capacity(engine.store, engine.clock).any_alive()


def _has_job(engine: Any, build: str) -> bool:
    from buildflow.distributed.jobs import Jobs

    return Jobs(engine.store, engine.clock).row(build) is not None


def _end(
    invocation: Invocation,
    shown: Sequence[Row],
    errors: Sequence[str],
    *,
    interrupted: bool,
    wanted_back: bool,
) -> int:
    if invocation.json:
        invocation.document(list(shown))
    for error in errors:
        tell_lines("stderr", [f"buildflow: {error}"])
    codes = [UNUSABLE] if errors else []
    for build in shown:
        if build["status"] not in ("complete", "rolled_back", "residue"):
            continue  # told as an error
        code = exit_code(build, interrupted=interrupted)
        if wanted_back and build["status"] == "rolled_back":
            code = COMPLETE
            if not invocation.json and not invocation.quiet:
                tell_lines("stdout", [f"{called(build)} is rolled back, nothing is left"])
        else:
            tell_build(invocation, build)
        codes.append(code)
    for gravest in (UNUSABLE, RESIDUE, 130, 1):
        if gravest in codes:
            return gravest
    return COMPLETE
