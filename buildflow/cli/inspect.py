"""`buildflow list`, `show` and `history`: the store alone, never a hypervisor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from buildflow.cli.invocation import invocation_of

if TYPE_CHECKING:
    from buildflow.engine.store import Row

DEFAULT_LIMIT = 100
_OF_THE_JOB = ("state", "tries", "not_before", "reason", "posted_at")
# columns that a narrow terminal does without, the first one first; an id is never broken
_LEAST_WANTED = ("HOST", "POWER", "CREATED", "TASK")


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command("list")(list_builds)
    app.command("show")(show)
    app.command("history")(history)


def list_builds(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option(metavar="N", help="How many at most.", min=1)] = (
        DEFAULT_LIMIT
    ),
    everything: Annotated[
        bool, typer.Option("--all", help="All of them, those that are gone included.")
    ] = False,
) -> int:
    """List builds, the newest first."""
    invocation = invocation_of(ctx)
    from buildflow.engine.show import listed

    with invocation.open_store() as store:
        rows = listed(store, None if everything else limit)
    if invocation.json:
        invocation.document(rows)
    else:
        _table(rows, None if everything else limit)
    return 0


def show(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="ID", help="A build's id or name.")],
) -> int:
    """Show one build: its states, its steps and the effects that it made."""
    invocation = invocation_of(ctx)
    from buildflow.distributed.jobs import Jobs
    from buildflow.engine.clock import SystemClock
    from buildflow.engine.show import as_shown

    with invocation.open_store() as store:
        shown = as_shown(store, store.find(name))
        job = Jobs(store, SystemClock()).row(shown["id"])
    shown["job"] = job and {key: job[key] for key in _OF_THE_JOB}
    if invocation.json:
        invocation.document(shown)
    else:
        _shown(shown)
    return 0


def history(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="ID", help="A build's id or name.")],
) -> int:
    """Show the transitions of one build, in order."""
    invocation = invocation_of(ctx)
    from buildflow.engine.show import history_of

    with invocation.open_store() as store:
        lines = history_of(store, name)
    if invocation.json:
        invocation.document(lines)
    else:
        _transitions(lines)
    return 0


def _console() -> Any:
    from buildflow.cli.terminal import Terminal

    return Terminal.for_tables()


def _grid(*columns: str) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _table(rows: list[Row], limit: int | None) -> None:
    from buildflow.cli.progress.words import STATUS_STYLES, status_words

    console = _console()
    if not rows:
        console.print("no builds yet: `buildflow build NAME --image FILE` makes one", style="dim")
        return
    cells = {
        "ID": [row["id"] for row in rows],
        "NAME": [str(row["name"] or "-") for row in rows],
        "STATUS": [status_words(row["status"]) for row in rows],
        "VM": [row["vm_state"] or "-" for row in rows],
        "TASK": [row["task_state"] or "-" for row in rows],
        "POWER": [_power(row["power_state"]) for row in rows],
        "HOST": [row["host"] or "-" for row in rows],
        "CREATED": [_moment(row["created_at"]) for row in rows],
    }
    for column in _LEAST_WANTED:
        if sum(max(map(len, [name, *found])) + 2 for name, found in cells.items()) <= console.width:
            break
        del cells[column]
    table = _grid(*cells)
    for place, row in enumerate(rows):
        styles = {"STATUS": STATUS_STYLES.get(row["status"], "")}
        table.add_row(*(_text(cells[c][place], styles.get(c, "")) for c in cells))
    console.print(table)
    if limit is not None and len(rows) == limit:
        console.print(f"the newest {limit}; `--all` lists every one", style="dim")


def _faults(shown: Row) -> Iterator[str]:
    """The build's fault, and below it what came later, or what it got over: a line each.

    Of several attempts each has its line, the one that the fault is of among them.
    """
    fault, later, told = shown["fault"], shown["errors"], set()
    if fault is not None and shown["status"] in ("queued", "running"):
        later = [fault, *later]  # of an earlier attempt: one that is at work has no fault yet
    elif fault is not None:
        yield f"fault{_in_step(fault)}: {fault['message']}"
        if shown["attempt"] > 1:
            later = [fault, *later]
        else:
            told.add(1)
    for error in later:
        number = error.get("attempt", 1)
        which = "and then" if number in told else f"attempt {number}"
        told.add(number)
        host = f" on {error['host']}" if error.get("host") else ""
        yield f"  {which}{host}{_in_step(error)}: {error['message']}"


def _in_step(error: Row) -> str:
    return f" in {error['step']}" if error.get("step") else ""


def _shown(shown: Row) -> None:
    from buildflow.cli.outcome import called, console_log, residue
    from buildflow.cli.progress.words import STATUS_STYLES, status_words

    console = _console()
    facts = _grid("", "")
    facts.show_header = False
    for name, value in _facts(shown, console_log(shown)):
        facts.add_row(_text(name, "dim"), _text(value))
    console.print(
        _text(called(shown), "bold"),
        _text(status_words(shown["status"]), STATUS_STYLES.get(shown["status"], "")),
    )
    console.print(facts)
    faults = list(_faults(shown))
    if faults:
        console.print()
    for line in faults:
        console.print(_text(line, "red"))
    _print_steps(console, shown["steps"], "STEP")
    if shown.get("delete_steps"):
        _print_steps(console, shown["delete_steps"], "STEP OF THE DELETE")
    if shown["effects"]:
        effects = _grid("EFFECT", "STATE", "STEP", "OUTSIDE")
        for effect in shown["effects"]:
            effects.add_row(
                effect["kind"], effect["state"], _text(effect["step"]),
                _text(effect["external_id"]),
            )  # fmt: skip
        console.print()
        console.print(effects)
    for line in residue(shown):
        console.print(line, soft_wrap=True)


def _print_steps(console: Any, steps: list[Row], heading: str) -> None:
    from buildflow.cli.progress.words import duration

    table = _grid(heading, "STATE", "TOOK", "UNDONE IN")
    for step in steps:
        table.add_row(
            _text(step["name"]),
            _text(_step_words(step)),
            duration(step["seconds"]),
            duration(step["revert_seconds"]),
        )
    console.print()
    console.print(table)


def _step_words(step: Row) -> str:
    words = step["state"].lower().replace("_", " ")
    if step["error"] and step["state"] != "FAILURE":
        return f"failed, {words}"
    return str(words)


def _facts(shown: Row, log: str | None) -> Iterator[tuple[str, str]]:
    yield "id", shown["id"]
    if shown["vm_state"] is not None:
        yield "vm state", shown["vm_state"]
        yield "task state", shown["task_state"] or "-"
        yield "power state", _power(shown["power_state"])
    yield "host", shown["host"] or "-"
    yield "created", _moment(shown["created_at"])
    yield "finished", _moment(shown["finished_at"]) if shown["finished_at"] else "-"
    if shown["attempt"] > 1:
        yield "attempt", str(shown["attempt"])
    if shown["job"] is not None:
        yield "job", _job(shown["job"])
    if shown["request_id"]:
        yield "request id", shown["request_id"]
    for vif in shown["network_info"] or ():
        ips = [ip["address"] for net in vif["network"]["subnets"] for ip in net["ips"]]
        yield "address", f"{', '.join(ips) or '-'} on {vif['network']['label']} ({vif['address']})"
    for disk in (shown["block_device_info"] or {}).get("block_device_mapping", ()):
        yield "volume", f"{disk['connection_info'].get('serial')} as {disk['mount_device']}"
    if log is not None:
        yield "console", log


def _job(job: Row) -> str:
    """How a build that conductors carry out stands with them."""
    told = str(job["state"])
    if job["tries"]:
        told += f", tried {job['tries']} time{'s' if job['tries'] > 1 else ''}"
    return told + (f": {job['reason']}" if job["reason"] else "")


def _transitions(lines: list[Row]) -> None:
    table = _grid("AT", "TRIGGER", "STEP", "VM", "TASK", "POWER")
    for line in lines:
        table.add_row(
            _moment(line["at"], fine=True), _text(line["trigger"]), _text(line["step"]),
            _text(line["vm_state"]), _text(line["task_state"]), _text(_power(line["power_state"])),
        )  # fmt: skip
    _console().print(table)


def _power(value: int | None) -> str:
    from buildflow.states import power

    return "-" if value is None else power.NAMES.get(value, str(value))


def _moment(stamp: str, *, fine: bool = False) -> str:
    """A stamp in the reader's own time zone."""
    from datetime import datetime

    moment = datetime.fromisoformat(stamp).astimezone()
    return moment.isoformat(sep=" ", timespec="milliseconds" if fine else "seconds")[
        : 23 if fine else 19
    ]


def _text(value: object, style: str = "") -> Any:
    from rich.text import Text

    return Text("-" if value is None or value == "" else str(value), style)
