"""The typer application: the options of every verb, and the verbs.

Of these only the one that is called is imported; the others stand in `--help` by name and summary.
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from buildflow.cli.invocation import Invocation
from buildflow.cli.verbs import VERBS, Verb

_PANEL = "Options of every verb, before or after it"

_HELP = (
    "Build virtual machines in steps that can all be undone.\n\n"
    "Whatever fails, a build ends complete, or gone with nothing left, or with a list of what is"
    " left and the command that finishes the job.\n\n"
    "[dim]Exit codes: 0 complete; 1 failed and rolled back, nothing left; 2 bad input, nothing"
    " done; 3 residue is left; 4 host, store or service can't be used, nothing done; 130"
    " interrupted and rolled back.[/dim]"
)


def make_application(verb: str | None) -> typer.Typer:
    """The application with `verb` imported; with None every verb is."""
    app = typer.Typer(
        name="buildflow",
        help=_HELP,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_common)
    verbs = [each for each in VERBS if _installed(each.module)]
    loaded: set[str] = set()
    for each in verbs:
        if verb is not None and each.name != verb:
            app.command(each.name, help=each.summary, rich_help_panel=each.group)(_unloaded)
        elif each.module not in loaded:
            _load(app, each, {other.name for other in verbs}, None if verb is None else verb)
            if verb is None:
                loaded.add(each.module)
    return app


def _load(app: typer.Typer, verb: Verb, known: set[str], only: str | None) -> None:
    """Let the verb's module register, then keep of it what was asked for."""
    own = typer.Typer()
    importlib.import_module(verb.module).register(own)
    groups = {each.name: each.group for each in VERBS}
    for command in own.registered_commands:
        name = command.name or getattr(command.callback, "__name__", "").replace("_", "-")
        if name in known and only in (None, name):
            command.rich_help_panel = groups[name]
            app.registered_commands.append(command)
    for group in own.registered_groups:
        inner = group.typer_instance
        name = str(group.name or (inner.info.name if inner is not None else ""))
        if name in known and only in (None, name):
            group.rich_help_panel = groups[name]
            app.registered_groups.append(group)


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package that would hold it
        return False


def _unloaded() -> None:
    raise AssertionError("a verb that is called is loaded")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"buildflow {version('buildflow-vm')}")
        raise typer.Exit


def _common(
    ctx: typer.Context,
    home: Annotated[
        Path | None,
        typer.Option(
            envvar="BUILDFLOW_HOME",
            metavar="DIR",
            help="Holds store and disks; ~/.local/share/buildflow unless set.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    connect: Annotated[
        str | None,
        typer.Option(
            envvar="BUILDFLOW_LIBVIRT_URI",
            metavar="URI",
            help="Hypervisor: qemu:///embed?root=DIR (the default, in HOME), qemu:///session,"
            " qemu:///system, qemu+ssh://HOST/system.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="One JSON document on stdout.", rich_help_panel=_PANEL),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress.", rich_help_panel=_PANEL)
    ] = False,
    store: Annotated[
        str | None,
        typer.Option(
            envvar="BUILDFLOW_STORE",
            metavar="URL",
            help="Where builds are recorded: SQLite in HOME unless set,"
            " or postgresql+psycopg://...",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    os_cloud: Annotated[
        str | None,
        typer.Option(
            envvar="OS_CLOUD",
            metavar="NAME",
            help="Take volumes, networks and images from this cloud of clouds.yaml.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    os_service_cloud: Annotated[
        str | None,
        typer.Option(
            envvar="BUILDFLOW_OS_SERVICE_CLOUD",
            metavar="NAME",
            help="The cloud of clouds.yaml whose user has the service role.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    compute_driver: Annotated[
        str | None, typer.Option(metavar="NAME", help="libvirt.", rich_help_panel=_PANEL)
    ] = None,
    network_driver: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="user, libvirt or neutron.", rich_help_panel=_PANEL),
    ] = None,
    volume_driver: Annotated[
        str | None, typer.Option(metavar="NAME", help="local or cinder.", rich_help_panel=_PANEL)
    ] = None,
    image_driver: Annotated[
        str | None, typer.Option(metavar="NAME", help="file or glance.", rich_help_panel=_PANEL)
    ] = None,
    volume_api: Annotated[
        str | None,
        typer.Option(metavar="API", help="auto, attachments or legacy.", rich_help_panel=_PANEL),
    ] = None,
    volume_attach: Annotated[
        str | None,
        typer.Option(metavar="HOW", help="auto, qemu or host.", rich_help_panel=_PANEL),
    ] = None,
    virt_type: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE", help="kvm or qemu; a boot probe decides.", rich_help_panel=_PANEL
        ),
    ] = None,
    hypervisor_wait: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            min=0,
            help="How long to wait for another process that holds the embedded hypervisor;"
            " 30 unless given.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    given: dict[str, Any] = {
        "connect": connect,
        "store": store,
        "os_cloud": os_cloud,
        "os_service_cloud": os_service_cloud,
        "compute_driver": compute_driver,
        "network_driver": network_driver,
        "volume_driver": volume_driver,
        "image_driver": image_driver,
        "volume_api": volume_api,
        "volume_attach": volume_attach,
        "virt_type": virt_type,
        "hypervisor_wait_s": hypervisor_wait,
    }
    from buildflow.cli.settings import settings_from

    ctx.obj = Invocation(settings_from(home, given), json=as_json, quiet=quiet)
