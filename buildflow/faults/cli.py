"""The verbs that prove things: `verify` over the tables, `faults` by failing in every way."""

from __future__ import annotations

import os
import re
from dataclasses import fields
from fnmatch import translate
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from buildflow.cli.invocation import Invocation, invocation_of
from buildflow.cli.outcome import COMPLETE, ROLLED_BACK
from buildflow.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterable

    from buildflow.engine.store import Rows
    from buildflow.faults.explore import Exploration
    from buildflow.faults.play import Scenario
    from buildflow.faults.points import Point
    from buildflow.faults.real import Comparison
    from buildflow.faults.scene import Scene
    from buildflow.faults.scene_names import Asked
    from buildflow.faults.several import Result
    from buildflow.faults.verify import Proof

# a flaw, or a broken rule: the code of a build that failed
FOUND = ROLLED_BACK
# how many broken rules are told in full on a terminal; the documents have them all
TOLD_MAX = 10

_MACHINE, _OWN = "The machine that is built", "A flow of your own"
_REAL = "On real services"

SceneName = Annotated[
    str | None,
    typer.Option("--scene", metavar="NAME", help="A scene by its name, instead of the options"
                 " below; `faults list --scenes` names those that are ready.",
                 rich_help_panel=_MACHINE),
]  # fmt: skip
SceneNames = Annotated[
    list[str] | None,
    typer.Option("--scene", metavar="NAME", help="A scene by its name, instead of the options"
                 " below; repeatable, and `all` is each that `faults list --scenes` names.",
                 rich_help_panel=_MACHINE),
]  # fmt: skip
Nics = Annotated[int, typer.Option(metavar="N", help="NICs.", rich_help_panel=_MACHINE)]
Volumes = Annotated[int, typer.Option(metavar="N", help="Volumes.", rich_help_panel=_MACHINE)]
Boot = Annotated[
    str,
    typer.Option(metavar="image|volume", help="What it boots from.", rich_help_panel=_MACHINE),
]
Made = Annotated[
    bool,
    typer.Option("--new-volume", help="A volume that is made for it too.",
                 rich_help_panel=_MACHINE),
]  # fmt: skip
Delete = Annotated[
    bool,
    typer.Option("--delete", help="Explore its delete, not its build.", rich_help_panel=_MACHINE),
]
Hosts = Annotated[
    int,
    typer.Option(metavar="N", help="Hosts; with more than one a failed attempt is rescheduled.",
                 rich_help_panel=_MACHINE),
]  # fmt: skip
Attach = Annotated[
    str,
    typer.Option("--attach", metavar="qemu|host", help="Who opens its volumes.",
                 rich_help_panel=_MACHINE),
]  # fmt: skip
Api = Annotated[
    str,
    typer.Option("--cinder", metavar="attachments|legacy", help="The protocol with Cinder.",
                 rich_help_panel=_MACHINE),
]  # fmt: skip
Flow = Annotated[
    str | None,
    typer.Option("--flow", metavar="MODULE:FACTORY", rich_help_panel=_OWN,
                 help="What makes the flow: of buildflow steps, or, when it takes an argument"
                 " `world`, of plain TaskFlow tasks. MODULE is looked for here first."),
]  # fmt: skip
World = Annotated[
    str | None,
    typer.Option("--world", metavar="MODULE:CLASS", rich_help_panel=_OWN,
                 help="What makes the world that its steps act on; a dictionary unless given."),
]  # fmt: skip
Input = Annotated[
    list[str] | None,
    typer.Option("--input", metavar="NAME=JSON", rich_help_panel=_OWN,
                 help="An argument of the factory; repeatable."),
]  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command("verify")(verify)
    faults = typer.Typer(
        help="Fail a build in every way there is, and say what became of each.",
        no_args_is_help=True,
    )
    faults.command("list")(list_points)
    faults.command("run")(run)
    faults.command("replay", no_args_is_help=True)(replay)
    app.add_typer(faults, name="faults")


# --- verify --------------------------------------------------------------------------------------


def verify(
    ctx: typer.Context,
    builds: Annotated[
        bool,
        typer.Option("--builds", help="Judge the builds in flight in the store as well: can this"
                     " version go on with them?"),
    ] = False,
    flow: Annotated[
        str | None,
        typer.Option("--flow", metavar="MODULE:FACTORY", help="Check a flow of your own instead."),
    ] = None,
    input: Input = None,
) -> int:  # fmt: skip
    """Check states, joint table and flows against each other, without running anything.

    Exit code 1 when there is a flaw, each with the shortest way to it.
    """
    from buildflow.faults.shapes import shapes
    from buildflow.faults.verify import verify as prove

    invocation = invocation_of(ctx)
    flows = shapes() if flow is None else {flow: _flow_of(flow, _inputs(input))}
    proof = prove(flows)
    unfit: Rows = []
    if builds:
        with invocation.open_engine() as engine:
            unfit = engine.unfit_builds()
    if invocation.json:
        document = proof.as_json()
        invocation.document({**document, "unfit": unfit} if builds else document)
    else:
        _print_proof(invocation, proof, unfit if builds else None)
    return FOUND if proof.flaws or unfit else COMPLETE


def _print_proof(invocation: Invocation, proof: Proof, unfit: Rows | None) -> None:
    from buildflow.cli.terminal import Terminal

    out = Terminal(soft_wrap=True)
    if not invocation.quiet:
        for line in proof.lines():
            out.print(line, markup=False)
        if unfit is not None and not unfit:
            out.print("builds: this version can go on with every build in flight")
    err = Terminal(stderr=True, soft_wrap=True)
    for flaw in proof.flaws:
        for number, line in enumerate(flaw.lines()):
            err.print(line, style="bold red" if number == 0 else None, markup=False)
    for row in unfit or ():
        name = row["name"] or row["id"]
        err.print(
            f"build {name} ({row['status']}): {row['detail']}; finish it with the version that"
            f" began it, or roll it back: buildflow resume --revert {name}", markup=False,
        )  # fmt: skip
    count = len(proof.flaws)
    if count:
        err.print(f"{count} flaw{'s' if count > 1 else ''}", style="bold red")


# --- faults list ---------------------------------------------------------------------------------


def list_points(
    ctx: typer.Context,
    scene: SceneName = None,
    nics: Nics = 1,
    volumes: Volumes = 2,
    boot: Boot = "image",
    made: Made = False,
    delete: Delete = False,
    hosts: Hosts = 1,
    attach: Attach = "qemu",
    api: Api = "attachments",
    flow: Flow = None,
    world: World = None,
    input: Input = None,
    kinds: Annotated[bool, typer.Option("--kinds", help="The kinds of fault, one a line.")] = False,
    scenes: Annotated[bool, typer.Option("--scenes", help="The scenes that are ready.")] = False,
) -> int:
    """List the points at which faults can strike, and how many kinds can at each."""
    from buildflow.faults.kinds import KINDS
    from buildflow.faults.machines import SCENES
    from buildflow.faults.points import points_of

    invocation = invocation_of(ctx)
    if scenes:
        if invocation.json:
            invocation.document(list(SCENES))
        else:
            print("\n".join(SCENES))
        return COMPLETE
    if kinds:
        rows = [{"kind": k.name, "code": k.code, "does": k.act.value, "why": k.why} for k in KINDS]
        if invocation.json:
            invocation.document(rows)
        else:
            _print_table(("KIND", "CODE", "DOES", "WHY"), [tuple(row.values()) for row in rows])
        return COMPLETE
    chosen = _scene(scene, _asked(ctx), flow, world, input)
    found = points_of(chosen)
    if invocation.json:
        invocation.document(
            {"scene": chosen.name, "points": [_point_row(point) for point in found]}
        )
        return COMPLETE
    width = max(len(point.name) for point in found)
    for point in found:
        way = "back" if point.back else "forward"
        times = f"x{point.visits}" if point.visits > 1 else ""
        print(f"{point.name:<{width}}  {way:<7}  {times:<4} {', '.join(point.kinds)}")
    faults = sum(len(point.kinds) for point in found)
    print(f"{len(found)} points of {chosen.name}, {faults} pairs of point and kind")
    return COMPLETE


def _point_row(point: Point) -> dict[str, Any]:
    return {
        "point": point.name, "step": point.step, "at": point.at.value,
        "way": "back" if point.back else "forward", "times": point.visits,
        "kinds": list(point.kinds),
    }  # fmt: skip


# --- faults run ----------------------------------------------------------------------------------


def run(
    ctx: typer.Context,
    depth: Annotated[
        int,
        typer.Option(metavar="1|2", min=0, max=2, help="Single faults, or ordered pairs as well;"
                     " 0 for none but those at random."),
    ] = 1,
    random: Annotated[
        int, typer.Option("--random", metavar="N", min=0, help="Random plans of 3 to 6 faults,"
                     " in each scene."),
    ] = 0,
    seed: Annotated[int, typer.Option(metavar="S", help="The first of their seeds.")] = 1,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="KIND", help="This kind only; repeatable. `faults list"
                     " --kinds` names them."),
    ] = None,
    point: Annotated[
        list[str] | None,
        typer.Option("--point", metavar="PATTERN", help="Strike at these points only, such as"
                     " `start:*`; repeatable."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Processes; as many as there are processors."),
    ] = None,
    scene: SceneNames = None,
    nics: Nics = 1,
    volumes: Volumes = 2,
    boot: Boot = "image",
    made: Made = False,
    delete: Delete = False,
    hosts: Hosts = 1,
    attach: Attach = "qemu",
    api: Api = "attachments",
    flow: Flow = None,
    world: World = None,
    input: Input = None,
    real: Annotated[
        bool,
        typer.Option("--real", help="Play single faults on the real drivers as well, and compare:"
                     " real guests, real kills. With --os-cloud real volumes and ports too.",
                     rich_help_panel=_REAL),
    ] = False,
    image: Annotated[
        str | None,
        typer.Option("--image", metavar="FILE", help="The guest's; with --os-cloud the name of one"
                     " of Glance's will do.", rich_help_panel=_REAL),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option("--network", metavar="NAME", help="Where its NICs are; the default network"
                     " unless given.", rich_help_panel=_REAL),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option("--sample", metavar="N", min=1, help="So many of the plans, evenly spread;"
                     " all unless given.", rich_help_panel=_REAL),
    ] = None,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Results for a CI, in XML.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="The matrix and the charts, one page."),
    ] = None,
) -> int:  # fmt: skip
    """Try every way in which a build can fail, and say for each what became of it.

    Nothing real is touched, but for --real: it runs in a simulated world, on a clock that does not
    wait. Exit code 1 when a rule was broken.
    """
    from buildflow.faults.several import Several, Share
    from buildflow.faults.testing import codes_of, explore
    from buildflow.faults.watch import telling

    invocation = invocation_of(ctx)
    if real:
        if scene or flow is not None:
            raise BadInput("--real plays a machine that options such as --nics name")
        machine = _asked_for_real(ctx, invocation)
        found = _compared(invocation, machine, image, network, sample, codes_of(only), point)
        return _tell_compared(invocation, found)
    if image is not None or network is not None or sample is not None:
        raise BadInput("--image, --network and --sample go with --real")
    if scene and flow is not None:
        raise BadInput("--scene names machines; leave it out, or --flow")
    names = _scene_names(scene)
    codes, pattern = codes_of(only), _pattern(point)
    chosen = [_scene(name, _asked(ctx), flow, world, input) for name in names]
    for file in (junit, html):
        _require_writable(file)
    processes = workers or len(os.sched_getaffinity(0))
    parts = []
    with telling(chosen[0].name, quiet=invocation.quiet, say=invocation.say) as teller:
        tell = Share(teller, len(chosen))
        for number, each in enumerate(chosen, start=1):
            what = each.name if len(chosen) == 1 else f"{each.name} ({number} of {len(chosen)})"
            teller.what, each.only_at = what, pattern
            part = explore(each, depth=depth, only=codes, workers=processes, tell=tell)
            if random:
                from buildflow.faults.chance import add_random

                teller.what = f"{what}, at random"
                add_random(
                    part, each, seed=seed, count=random, workers=processes, only=codes, tell=tell
                )
            teller.what = f"{what}, shrinking"
            _shrink(each, part)
            parts.append(part)
            tell.took(part)
    asked = ",".join(dict.fromkeys(scene or ()))
    result = parts[0] if len(parts) == 1 else Several(asked, parts)
    _write(result, junit, html)
    if invocation.json:
        from buildflow.faults.report import as_json

        invocation.document(as_json(result))
    else:
        _print(invocation, result, _how(flow, world, input))
    return FOUND if result.failing else COMPLETE


def _asked_for_real(ctx: typer.Context, invocation: Invocation) -> Asked:
    """The machine that the options name; what none names is as simple as can be: without a cloud no
    volume, and with one a volume to boot from.
    """
    from buildflow.faults.scene_names import Asked

    sources = {name: ctx.get_parameter_source(name) for name in _asked(ctx)}
    given = {
        name: value
        for name, value in _asked(ctx).items()
        if (source := sources[name]) is not None and source.name != "DEFAULT"
    }
    if invocation.settings.os_cloud is None:
        return Asked(**{"volumes": 0, **given})
    simple: dict[str, Any] = {"volumes": 1, "boot": "volume"} if ctx.params["image"] is None else {}
    return Asked(**{"volumes": 0, **simple, **given})


def _compared(
    invocation: Invocation,
    machine: Asked,
    image: str | None,
    network: str | None,
    sample: int | None,
    codes: frozenset[str] | None,
    point: list[str] | None,
) -> list[Comparison]:
    """Single faults in both worlds: same plan, same outcome."""
    import tempfile

    from buildflow.faults.real import plans_of, spread
    from buildflow.faults.real_machine import real_machine

    scene = machine.scene()
    plans = plans_of(scene, codes)
    points = _pattern(point)
    if points is not None:
        plans = [plan for plan in plans if points.fullmatch(plan[-1].name)]
    plans = spread(plans, sample or len(plans))
    if image is not None and Path(image).is_file():
        image = str(Path(image).absolute())
    home = invocation.settings.home
    home.mkdir(parents=True, exist_ok=True)
    found = []
    with tempfile.TemporaryDirectory(prefix="faults-", dir=home) as folder:
        Path(folder).chmod(0o711)  # as root QEMU runs as somebody else, who must get in
        with real_machine(
            invocation.settings, Path(folder), machine, image=image, network=network
        ) as world:
            for number, plan in enumerate(plans, start=1):
                compared = world.compare(scene, plan)
                found.append(compared)
                if not invocation.quiet or not compared.alike:
                    sign = "same" if compared.alike else "DIFFERS"
                    invocation.say(f"{number}/{len(plans)}  {sign}  {compared}")
    return found


def _tell_compared(invocation: Invocation, found: list[Comparison]) -> int:
    unlike = [each for each in found if not each.alike]
    if invocation.json:
        invocation.document({
            "scenarios": len(found), "seconds": round(sum(each.seconds for each in found), 1),
            "differences": len(unlike), "compared": [each.as_json() for each in found],
        })  # fmt: skip
    else:
        print(f"{len(found)} plans played in both worlds, {len(unlike)} ended differently")
    return FOUND if unlike else COMPLETE


def _print(invocation: Invocation, result: Result, how: str) -> None:
    from buildflow.cli.terminal import Terminal
    from buildflow.faults.report import token_or_none
    from buildflow.faults.several import parts_of
    from buildflow.faults.shrink import story
    from buildflow.faults.watch import summary, table_of

    out, err = Terminal(soft_wrap=True), Terminal(stderr=True, soft_wrap=True)
    if not invocation.quiet:
        out.print(table_of(result))
    for line in summary(result):
        out.print(line, markup=False)
    if result.untaken and not invocation.quiet:
        out.print(f"transitions that no scenario took ({len(result.untaken)}):")
        for name in result.untaken:
            out.print(f"  {name}", markup=False)
    if not result.failing:
        out.print("no rule was broken", style="bold green")
        return
    broken = [(part.scene, scenario) for part in parts_of(result) for scenario in part.failing]
    for name, scenario in broken[:TOLD_MAX]:
        err.print()
        token = token_or_none(name, scenario)
        for line in story(scenario, token, how=how):
            err.print(line, markup=False)
    more = len(broken) - TOLD_MAX
    if more > 0:
        err.print(f"\nand {more} more: --json and --html have them all")
    err.print(f"{len(broken)} plans broke a rule", style="bold red")


def _shrink(scene: Scene, result: Exploration) -> None:
    """Each failing plan to its fewest faults; plans that become the same count once."""
    from buildflow.faults.shrink import shrink

    shrunk: dict[Any, Scenario] = {}
    for failing in result.failing:
        scenario = failing
        if len(failing.faults) > 1:
            scenario = shrink(scene, result.reference, failing)
        shrunk.setdefault((scenario.faults, scenario.rules), scenario)
    result.failing = sorted(shrunk.values(), key=lambda each: len(each.faults))


def _write(result: Result, junit: Path | None, html: Path | None) -> None:
    if junit is not None:
        from buildflow.faults.report import as_junit

        junit.write_bytes(as_junit(result))
    if html is not None:
        from buildflow.faults.page import as_page

        html.write_text(as_page(result), encoding="utf-8")


def _require_writable(file: Path | None) -> None:
    if file is None:
        return
    if file.is_dir() or not os.access(file if file.exists() else file.parent, os.W_OK):
        raise BadInput(f"{file} can't be written")


def _pattern(points: Iterable[str] | None) -> re.Pattern[str] | None:
    texts = [translate(each) for each in points or ()]
    return re.compile("|".join(texts)) if texts else None


# --- faults replay -------------------------------------------------------------------------------


def replay(
    ctx: typer.Context,
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="As `faults run` printed it.")],
    flow: Flow = None,
    world: World = None,
    input: Input = None,
) -> int:
    """Play one plan again, and tell its story. Exit code 1 when it breaks a rule."""
    from buildflow.faults.plan import read_token
    from buildflow.faults.play import reference_of
    from buildflow.faults.play import replay as play_again
    from buildflow.faults.shrink import story

    invocation = invocation_of(ctx)
    read = read_token(token)
    scene = _scene(read.scene, {}, flow, world, input)
    if scene.name != read.scene:
        raise BadInput(
            f"this token is of the scene {read.scene!r}, not of {scene.name!r}: leave --flow out,"
            " or give the one that it was made with"
        )
    scenario = play_again(scene, reference_of(scene), read)
    told = list(story(scenario))
    if invocation.json:
        from buildflow.faults.report import scenario_row

        invocation.document({"scene": scene.name, **scenario_row(scene.name, scenario)})
    else:
        print("\n".join(told))
        if not scenario.violations:
            print("No rule is broken.")
    return FOUND if scenario.violations else COMPLETE


# --- what is meant -------------------------------------------------------------------------------


def _asked(ctx: typer.Context) -> dict[str, Any]:
    """The options that say which machine is built, by the names that `Asked` has for them."""
    from buildflow.faults.scene_names import Asked

    return {field.name: ctx.params[field.name] for field in fields(Asked)}


def _scene_names(given: list[str] | None) -> list[str | None]:
    """Each scene that is asked for, once; None for the one that the other options describe."""
    from buildflow.faults.machines import SCENES

    if not given:
        return [None]
    names: dict[str | None, None] = {}
    for name in given:
        names.update(dict.fromkeys(SCENES if name == "all" else [name]))
    return list(names)


def _scene(
    name: str | None,
    asked: dict[str, Any],
    flow: str | None,
    world: str | None,
    inputs: list[str] | None,
) -> Scene:
    """The scene that the options name. Raises BadInput."""
    from buildflow.faults.scene_names import Asked, scene_called

    if flow is not None:
        return _own(flow, world, inputs)
    if world is not None or inputs:
        raise BadInput("--world and --input go with --flow, which says what runs in that world")
    if name is None:
        return Asked(**asked).scene()
    if name in ("own", "plain"):
        raise BadInput(f"{name!r} is a flow of your own: say which with --flow and --world")
    given = [f.name for f in fields(Asked) if asked and asked[f.name] != f.default]
    if given:
        raise BadInput(f"--scene {name} says it all; leave {', '.join(given)} out")
    return scene_called(name)


def _own(flow: str, world: str | None, inputs: list[str] | None) -> Scene:
    import inspect

    from buildflow.faults.testing import scene_for

    factory: Any = _imported(flow)
    maker: Any = _imported(world) if world is not None else dict
    takes = inspect.signature(factory).parameters
    given = _inputs(inputs)
    unknown = [name for name in given if name not in takes]
    if unknown:
        raise BadInput(f"{flow} takes no {unknown[0]!r}; it takes {', '.join(takes) or 'nothing'}")
    if "world" not in takes:
        return scene_for(factory, maker, {"inputs": given} if given else {})
    if given:
        raise BadInput("--input is for flows of buildflow steps; these are plain TaskFlow tasks")
    return scene_for(factory, maker, {})


def _how(flow: str | None, world: str | None, inputs: list[str] | None) -> str:
    import shlex

    words = ["buildflow", "faults", "replay", "TOKEN"]
    words += ["--flow", flow] if flow is not None else []
    words += ["--world", world] if world is not None else []
    for each in inputs or ():
        words += ["--input", each]
    return shlex.join(words).replace("{", "{{").replace("}", "}}").replace("TOKEN", "{}", 1)


def _flow_of(flow: str, inputs: dict[str, Any]) -> Any:
    factory: Any = _imported(flow)
    try:
        return factory(**inputs)
    except TypeError as error:
        raise BadInput(f"{flow} can't be called with {sorted(inputs)}: {error}") from error


def _inputs(texts: list[str] | None) -> dict[str, Any]:
    import json

    given: dict[str, Any] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise BadInput(f"--input {text!r} is not NAME=JSON")
        try:
            given[name] = json.loads(value)
        except ValueError:
            given[name] = value
    return given


def _imported(dotted: str) -> Any:
    """What MODULE:NAME names; a module of the working directory before others."""
    import sys

    from buildflow.engine.definitions import import_factory

    if ":" not in dotted:
        raise BadInput(f"{dotted!r} is not MODULE:NAME")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    found = import_factory(dotted)
    if not callable(found):
        raise BadInput(f"{dotted} is nothing that can be called")
    return found


def _print_table(heads: tuple[str, ...], lines: list[tuple[str, ...]]) -> None:
    from rich.table import Table

    from buildflow.cli.terminal import Terminal

    table = Table(box=None, pad_edge=False)
    for head in heads:
        table.add_column(head, overflow="fold")
    for line in lines:
        table.add_row(*line)
    Terminal().print(table)
