"""`buildflow build`."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from buildflow.cli.interruption import Interruption
from buildflow.cli.invocation import Invocation, invocation_of
from buildflow.cli.outcome import BAD_INPUT, UNUSABLE, exit_code, tell_build
from buildflow.cli.request import build_request

if TYPE_CHECKING:
    from buildflow.api import VmEngine
    from buildflow.cli.progress.follow import Progress
    from buildflow.engine.store import Row
    from buildflow.flows.request import BuildRequest

_WHAT, _NET, _BOOT, _HOW = "Disks", "Network", "Machine", "Running it"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("build")(build)


def build(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The machine's name.")],
    image: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Boot a copy of this image.", rich_help_panel=_WHAT),
    ] = None,
    boot_volume: Annotated[
        str | None,
        typer.Option(
            metavar="ID[,delete][,ro]", help="Boot from this volume.", rich_help_panel=_WHAT
        ),
    ] = None,
    volume: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID[,delete][,ro]", help="Attach a volume; repeatable.", rich_help_panel=_WHAT
        ),
    ] = None,
    new_volume: Annotated[
        list[str] | None,
        typer.Option(
            metavar="size=GIB[,...]",
            help="Make a volume: size=GIB[,image=ID][,snapshot=ID][,boot][,delete][,ro];"
            " repeatable.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    disk: Annotated[
        int | None,
        typer.Option(
            metavar="GIB", help="Size of the root disk made from the image.", rich_help_panel=_WHAT
        ),
    ] = None,
    memory: Annotated[
        int, typer.Option(metavar="MIB", help="Memory.", rich_help_panel=_BOOT)
    ] = 512,
    vcpus: Annotated[
        int, typer.Option(metavar="N", help="Virtual processors.", rich_help_panel=_BOOT)
    ] = 1,
    network: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A NIC on this network; repeatable. `none` for no NIC at all.",
            rich_help_panel=_NET,
        ),
    ] = None,
    port: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID", help="A NIC on a port of your own; repeatable.", rich_help_panel=_NET
        ),
    ] = None,
    nic: Annotated[
        list[str] | None,
        typer.Option(
            metavar="network=NAME[,...]",
            help="A NIC in full: network=NAME[,ip=ADDRESS][,mac=MAC]; repeatable.",
            rich_help_panel=_NET,
        ),
    ] = None,
    wait: Annotated[
        str,
        typer.Option(
            metavar="power|address|console:REGEX",
            help="What shows that the guest has booted.",
            rich_help_panel=_HOW,
        ),
    ] = "power",
    timeout: Annotated[
        float, typer.Option(metavar="S", help="How long to wait for that.", rich_help_panel=_HOW)
    ] = 120.0,
    request_id: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="The same key gives the same build, however often it is asked for.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    inject: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STEP[:WHERE]",
            help="Fail on purpose, as in wait_for_boot:execute; repeatable.",
            rich_help_panel=_HOW,
        ),
    ] = None,
) -> int:
    """Build a virtual machine and show it happening.

    Ends with the machine up, or with nothing left, or with a list of what is left.
    """
    invocation = invocation_of(ctx)
    request = request_of(
        name=name,
        image=image,
        boot_volume=boot_volume,
        volume=volume,
        new_volume=new_volume,
        disk=disk,
        memory=memory,
        vcpus=vcpus,
        network=network,
        port=port,
        nic=nic,
        wait=wait,
        timeout=timeout,
    )
    shown, interrupted = _carry_out(invocation, request, request_id, inject or ())
    if invocation.json:
        invocation.document(shown)
    tell_build(invocation, shown)
    return exit_code(shown, interrupted=interrupted)


def request_of(
    *,
    name: str,
    image: str | None,
    boot_volume: str | None,
    volume: list[str] | None,
    new_volume: list[str] | None,
    disk: int | None,
    memory: int,
    vcpus: int,
    network: list[str] | None,
    port: list[str] | None,
    nic: list[str] | None,
    wait: str,
    timeout: float,
    **fields: Any,
) -> BuildRequest:
    """The request that this verb's options make; `submit` has the same ones. Raises BadInput."""
    return build_request(
        name=name,
        image=None if image is None else _lasting(image),
        boot_volume=boot_volume,
        volumes=volume or (),
        new_volumes=new_volume or (),
        networks=network or (),
        ports=port or (),
        nics=nic or (),
        memory_mib=memory,
        vcpus=vcpus,
        disk_gib=disk,
        wait=wait,
        timeout_s=timeout,
        **fields,
    )


def _lasting(image: str) -> str:
    """A path that still leads there when the build is resumed from another directory."""
    if os.sep in image or Path(image).exists():
        return str(Path(image).expanduser().absolute())
    return image


def _carry_out(
    invocation: Invocation, request: BuildRequest, request_id: str | None, inject: Any
) -> tuple[Row, bool]:
    from buildflow.api import VmEngine, open_world_of
    from buildflow.cli.progress.follow import Progress
    from buildflow.engine.points import FailAt, parse_point
    from buildflow.flows.build import build_flow

    plan = None
    if inject:
        flow = build_flow(**request.inputs())
        plan = FailAt([parse_point(text, flow) for text in inject])
    with (
        Progress(quiet=invocation.quiet) as progress,
        Interruption(progress.say) as interruption,
        VmEngine(
            invocation.settings,
            open_world=partial(open_world_of, say=progress.say),
            listener=progress.listen,
            points=plan,
        ) as engine,
    ):
        shown = _build(invocation, engine, request, request_id, progress, interruption)
    if plan is not None and plan.waiting:
        never = ", ".join(str(point) for point in plan.waiting)
        invocation.say(f"buildflow: never passed: {never}")
    return shown, interruption.happened


def _build(
    invocation: Invocation,
    engine: VmEngine,
    request: BuildRequest,
    request_id: str | None,
    progress: Progress,
    interruption: Interruption,
) -> Row:
    from buildflow.flows.build import build_flow

    if request_id is None or engine.store.by_request(request_id) is None:
        engine.world  # noqa: B018 - waits for the hypervisor, while a signal may still end us
    with interruption.turning_round(engine.interrupt):
        row = _accept(engine, request, request_id)
        say_if_another(invocation, row, request)
        progress.follow(row["id"], row["name"], build_flow(**row["inputs"]))
        handle = engine.start(row)
        if interruption.happened:  # while there was no run yet that could be told
            engine.interrupt()
        shown = handle.wait()
        progress.ended(row["id"], shown["status"])
        return shown


def say_if_another(invocation: Invocation, row: Row, request: BuildRequest) -> None:
    """Say so when a request id gave a build that was asked for in other words than these."""
    known, wanted = dict(row["inputs"]), request.inputs()
    known.pop("max_attempts", None)  # the settings'
    if request.virt_type is None:
        known.pop("virt_type", None)
    if known != {key: value for key, value in wanted.items() if key != "max_attempts"}:
        invocation.say(
            f"buildflow: request id {row['request_id']!r} is that of {row['name'] or row['id']},"
            " which was asked for otherwise; nothing else is built"
        )


def _accept(engine: VmEngine, request: BuildRequest, request_id: str | None) -> Row:
    """Accept the build; what is refused now has done nothing, whatever raised it."""
    from buildflow.errors import DriverError, Exhausted, Refused

    try:
        return engine.accept_build(request, request_id=request_id)
    except DriverError as error:
        error.exit_code = BAD_INPUT if isinstance(error, (Exhausted, Refused)) else UNUSABLE
        raise
