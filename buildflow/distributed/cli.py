"""The verbs of many machines: submit, conductor, hosts, jobs."""

from __future__ import annotations

import inspect
import signal
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any, Final, get_type_hints

import typer

from buildflow.cli.build import build, request_of, say_if_another
from buildflow.cli.invocation import invocation_of
from buildflow.errors import BadInput

if TYPE_CHECKING:
    from buildflow.engine.store import Row

# a board says who has which job only when it is read as a whole
_READABLE: Final = 1000

Jobboard = Annotated[
    str | None,
    typer.Option(
        envvar="BUILDFLOW_JOBBOARD",
        metavar="URL",
        help="redis://HOST:PORT/DB, etcd://HOST:PORT or zookeeper://HOST:PORT. A URL with a"
        " password belongs into the variable, not here.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the four verbs."""
    app.command("submit", no_args_is_help=True)(_with_options_of_build(submit))
    app.command("conductor")(conductor)
    app.command("hosts")(hosts)
    app.command("jobs")(jobs)


def _with_options_of_build(verb: Callable[..., Any]) -> Callable[..., Any]:
    """`verb` with the options of `build` before its own: one definition serves both verbs."""
    theirs = inspect.signature(build).parameters
    hints = get_type_hints(build, include_extras=True)
    own = inspect.signature(verb).parameters
    own_hints = get_type_hints(verb, include_extras=True)
    parameters = [
        parameter.replace(annotation=hints[name])
        for name, parameter in theirs.items()
        if name != "inject"
    ]
    parameters += [
        parameter.replace(annotation=own_hints[name])
        for name, parameter in own.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    parameters.sort(key=lambda p: p.kind)
    verb.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    verb.__annotations__ = {p.name: p.annotation for p in parameters}
    return verb


def submit(
    *,
    jobboard: Jobboard = None,
    affinity: Annotated[
        str | None, typer.Option(metavar="GROUP", help="On the host that has this group.")
    ] = None,
    anti_affinity: Annotated[
        str | None, typer.Option(metavar="GROUP", help="On a host that has none of this group.")
    ] = None,
    **options: Any,
) -> int:
    """Post a build for any conductor to take; returns at once."""
    from buildflow.distributed.board import Board
    from buildflow.distributed.board_error import BoardRefused, BoardUnusable
    from buildflow.distributed.jobs import ASKED, POSTED, Jobs

    invocation = invocation_of(options.pop("ctx"))
    request_id = options.pop("request_id")
    request = request_of(**options, affinity_group=affinity, anti_affinity_group=anti_affinity)
    board = Board(_required(jobboard), "submit")
    away: BoardUnusable | None = None
    with closing(board):
        try:
            board.greet()
        except BoardRefused:
            raise  # before anything is accepted
        except BoardUnusable as error:
            away = error
        with invocation.open_engine() as engine:
            row = engine.accept_build(request, request_id=request_id, queue=True)
            say_if_another(invocation, row, request)
            known = Jobs(engine.store, engine.clock)
            wanted = row["status"] == "queued" and known.row(row["id"]) is None
            if wanted:
                known.post(row["id"], POSTED if away is None else ASKED)
            if wanted and away is None:
                try:
                    board.post(row["id"])
                except BoardUnusable as error:
                    away = error
                    known.post(row["id"], ASKED)
            job = known.row(row["id"])
            posted = job is None or job["state"] != ASKED
    if wanted and away is not None:
        invocation.say(f"buildflow: {away.summary}; a conductor will post it")
    if invocation.json:
        invocation.document(
            {"id": row["id"], "name": row["name"], "status": row["status"], "posted": posted}
        )
    else:
        print(f"{row['name']} is {row['status']} as {row['id']}")
        print(f"  next     buildflow show {row['name']} · buildflow jobs")
    return 0


def conductor(
    ctx: typer.Context,
    host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]URI[,vcpus=N][,memory=MIB][,disk=GIB]",
            help="A host to build on; repeatable. This machine's embedded one unless given.",
        ),
    ] = None,
    standby: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]URI",
            help="A host on which to finish the builds of a conductor that died; repeatable."
            " Its files must be reachable under the same --home.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="N", help="Its name; host name and pid unless given.")
    ] = None,
    jobboard: Jobboard = None,
    max_builds: Annotated[int, typer.Option(metavar="N", min=1, help="Builds at once.")] = 10,
    expiry: Annotated[
        float,
        typer.Option(
            metavar="S",
            min=1.0,
            max=86400.0,
            help="How long after its death others take its builds over.",
        ),
    ] = 10.0,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            metavar="PORT",
            min=0,
            max=65535,
            help="Prometheus figures on 127.0.0.1; 0 for a free port.",
        ),
    ] = None,
) -> int:
    """Take builds from a jobboard and carry them out, until SIGTERM or SIGINT.

    The first signal lets what runs here end; the second hands it over to other conductors at once.
    """
    import os

    from buildflow.api import VmEngine
    from buildflow.distributed.board import Board
    from buildflow.distributed.board_error import BoardRefused, BoardUnusable
    from buildflow.distributed.capacity import Capacity
    from buildflow.distributed.conductor import Conductor
    from buildflow.distributed.hosts import (
        offered,
        parse_hosts,
        require_name,
        require_one_root,
        require_served,
        world_of_hosts,
    )
    from buildflow.distributed.metrics import Metrics
    from buildflow.distributed.tracing import trace_steps
    from buildflow.engine.clock import SystemClock
    from buildflow.engine.store import Store

    invocation = invocation_of(ctx)
    settings = invocation.settings
    if name is not None:
        require_name("--name: a conductor", name)
    who = name or f"{os.uname().nodename}-{os.getpid()}"
    board = Board(_required(jobboard), who, expiry_s=expiry)
    texts = host or ([] if standby else [f"{os.uname().nodename}={settings.libvirt_uri}"])
    mine, spare = parse_hosts(texts), parse_hosts(standby or ())
    parse_hosts([*texts, *(standby or ())])  # each name once in all
    require_one_root([*mine, *spare])
    require_served([*mine, *spare], settings)
    try:
        board.greet()
    except BoardRefused:
        raise
    except BoardUnusable:
        pass  # told when it is asked for jobs, and asked again
    rows = [offered(each, settings) for each in mine]
    clock = SystemClock()
    store = Store(settings.store_url)
    metrics = Metrics()
    if metrics_port is not None:
        port = metrics.serve(metrics_port)
        invocation.say(f"{who}: figures on http://127.0.0.1:{port}/metrics")
    capacity = Capacity(store, clock)
    world = world_of_hosts(settings, mine, capacity, invocation.say, standby=spare)
    engine = VmEngine(settings, world, store=store, clock=clock, listener=metrics.heard)
    tracer = trace_steps(engine)

    def forget(build: str, status: str | None) -> None:
        metrics.forget(build)
        if tracer is not None:
            tracer.ended(build, status)

    worker = Conductor(
        engine,
        board,
        capacity,
        hosts=rows,
        standby=[each.name for each in spare],
        max_builds=max_builds,
        metrics=metrics,
        on_event=lambda line: invocation.say(f"{who}: {line}"),
        on_end=forget,
    )
    _stop_on_signals(worker)
    names = [each.name for each in mine] + [f"{each.name} (standby)" for each in spare]
    invocation.say(f"{who}: taking builds from {board.url} for {', '.join(names)}")
    try:
        worker.run()
    finally:
        engine.close()
        store.close()
    invocation.say(f"{who}: stopped" + (" (handed over)" if worker.handing_over else ""))
    return 0


def _stop_on_signals(worker: Any) -> None:
    def caught(_number: int, _frame: Any) -> None:
        worker.drain()  # which says so: here a line may just be on its way out

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, caught)


def hosts(
    ctx: typer.Context,
    disable: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Place no new builds on it.")
    ] = None,
    enable: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Place builds on it again.")
    ] = None,
    forget: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Take one off the list that is no more."),
    ] = None,
) -> int:
    """List hosts and the room they have."""
    from buildflow.distributed.capacity import Capacity

    invocation = invocation_of(ctx)
    with invocation.open_engine() as engine:
        capacity = Capacity(engine.store, engine.clock)
        capacity.require_known([*(disable or ()), *(enable or ()), *(forget or ())])
        for disabled, names in ((True, disable or ()), (False, enable or ())):
            for each in names:
                capacity.disable(each, disabled)
        for each in forget or ():
            capacity.forget_host(each)
        rows = capacity.listed()
    if invocation.json:
        invocation.document(rows)
        return 0
    if not rows:
        print("no hosts yet: a `buildflow conductor` brings them")
        return 0
    _table(
        ("HOST", "STATE", "BUILDS", "VCPUS", "MEMORY MIB", "DISK GIB", "URI", "WHY"),
        [
            (
                row["name"],
                _how_it_is(row),
                str(row["builds"]),
                f"{row['vcpus_used']}/{row['vcpus']}",
                f"{row['memory_mib_used']}/{row['memory_mib']}",
                f"{row['disk_gib_used']}/{row['disk_gib']}",
                row["uri"],
                row["reason"] or "",
            )
            for row in rows
        ],
    )
    return 0


def _how_it_is(row: Row) -> str:
    from buildflow.distributed.capacity import DISABLED

    state = str(row["state"])
    return f"{state}, {DISABLED}" if row["disabled"] and state != DISABLED else state


def jobs(
    ctx: typer.Context,
    jobboard: Jobboard = None,
    retry: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID", help="Try one again now that waits or was set aside; repeatable."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="How many to list.")] = 100,
) -> int:
    """List the jobs that wait, run or were set aside."""
    from buildflow.distributed.board import Board
    from buildflow.distributed.board_error import BoardUnusable
    from buildflow.distributed.jobs import ASKED, Jobs
    from buildflow.distributed.request import intention_of

    invocation = invocation_of(ctx)
    with invocation.open_engine() as engine:
        known = Jobs(engine.store, engine.clock)
        again = [engine.store.find(each) for each in retry or ()]
        for row in again:
            glance = known.glance(row["id"])
            if glance is None or glance["job"] is None or intention_of(glance) is None:
                raise BadInput(
                    f"{row['name'] or row['id']} is {row['status']}, and nothing waits to be done"
                    " for it; `buildflow jobs` lists what does"
                )
        for row in again:
            known.post(row["id"], ASKED)  # a conductor puts it on the board
        rows = [_with_intention(row) for row in known.listed(limit)]
        asked = jobboard if known.count() <= _READABLE else None
    if jobboard and asked is None:
        invocation.say("buildflow: too many jobs to ask the board who has them; CONDUCTOR is empty")
    if asked:
        board = Board(asked, "jobs")
        holders: dict[str, list[str]] = {}
        try:
            holders = board.holders({row["build"] for row in rows})
        except BoardUnusable as error:  # all but the conductors is known without it
            invocation.say(f"buildflow: {error.summary}")
        finally:
            board.close()
        for row in rows:
            row["conductor"] = ", ".join(holders.get(row["build"], [])) or None
    if invocation.json:
        invocation.document(rows)
        return 0
    if not rows:
        print("no jobs: `buildflow submit` posts one")
        return 0
    _table(
        ("BUILD", "NAME", "JOB", "TO DO", "STATUS", "HOST", "CONDUCTOR", "TRIES", "WHY"),
        [_job_line(row) for row in rows],
    )
    return 0


def _with_intention(row: Row) -> Row:
    """A job and what it asks for: run, cancel, delete or cleanup; who has it is not known yet."""
    from buildflow.distributed.request import intention_of
    from buildflow.engine.guard import Intention

    intention = intention_of({**row, "job": row["state"]})
    told = str(intention) if intention is not None else None
    if intention is Intention.RUN and row["stop"] is not None:
        told = "cancel"  # however it is to stop: it is rolled back
    return {**row, "intention": told, "conductor": None}


def _job_line(row: Row) -> tuple[str, ...]:
    return (
        row["build"],
        row["name"] or "",
        row["state"],
        row["intention"] or "-",
        row["status"],
        row["host"] or "-",
        row.get("conductor") or "-",
        str(row["tries"]),
        row["reason"] or "",
    )


def _table(heads: tuple[str, ...], lines: list[tuple[str, ...]]) -> None:
    from rich.table import Table

    from buildflow.cli.terminal import Terminal

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for head in heads:
        table.add_column(head, overflow="fold")
    for line in lines:
        table.add_row(*line)
    Terminal.for_tables().print(table)


def _required(jobboard: str | None) -> str:
    if not jobboard:
        raise BadInput(
            "which jobboard? Set BUILDFLOW_JOBBOARD or give --jobboard redis://HOST:PORT/DB"
        )
    return jobboard
