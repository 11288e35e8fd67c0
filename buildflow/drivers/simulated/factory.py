"""The entrance to the simulated drivers: settings in, drivers over one shared world out.

`settings.connect` says which world:

* `sim:///`: one in memory, gone with the process; the engines of one process with the same `home`
  share it;
* `sim:///path/to/world.jsonl`: one in a file, shared by whoever opens it;
* None: in a file in `home`.

`?hosts=a,b` after it names the hosts.

`settings.extra` may hold `hosts` (default one, `sim1`), `host` (which of them `compute` serves),
`world_options` (a mapping, for a world that is made new), `clock`, and `world`: a SimulatedWorld
that is there already and takes the place of all that `connect` says.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qs, urlsplit

from buildflow.config import Settings
from buildflow.drivers.simulated.compute import SimulatedCompute
from buildflow.drivers.simulated.image import SimulatedImage
from buildflow.drivers.simulated.network import SimulatedNetwork
from buildflow.drivers.simulated.volume import SimulatedVolume
from buildflow.drivers.simulated.world import SimulatedWorld
from buildflow.drivers.world import World
from buildflow.errors import BadInput

Say = Callable[[str], None]
SCHEME: Final = "sim:///"
DEFAULT_HOSTS: Final = ("sim1",)
_FILE: Final = "world.jsonl"


def make_world(settings: Settings) -> SimulatedWorld:
    """The world that these settings name: the same one for each of an engine's drivers."""
    given = settings.extra.get("world")
    if isinstance(given, SimulatedWorld):
        return given
    place = _place_of(settings)
    path: str | None = str(settings.home / _FILE)
    if place is not None:
        path = f"/{place}" if place else None
    name = path or f"memory:{settings.home}"
    clock = settings.extra.get("clock")
    with _guard:
        world = _open.get(name)
        if world is None:
            world = SimulatedWorld(path, clock=clock, options=settings.extra.get("world_options"))
            _open[name] = world
        elif clock is not None and clock is not world.clock:
            world.use_clock(clock)
        return world


def hosts_of(settings: Settings) -> list[str]:
    """The hosts of these settings, the default one first."""
    named = parse_qs(urlsplit(settings.connect or "").query).get("hosts", [""])[0]
    hosts = settings.extra.get("hosts") or [host for host in named.split(",") if host]
    return [str(host) for host in hosts or DEFAULT_HOSTS]


def compute(settings: Settings, say: Say | None = None) -> SimulatedCompute:
    """The compute driver of the default host, or of `settings.extra["host"]`."""
    host = settings.extra.get("host") or hosts_of(settings)[0]
    return SimulatedCompute(make_world(settings), str(host), volume_attach=settings.volume_attach)


def computes(settings: Settings, say: Say | None = None) -> dict[str, SimulatedCompute]:
    """A compute driver for each host; none of a driver's calls names a host."""
    world = make_world(settings)
    return {
        host: SimulatedCompute(world, host, volume_attach=settings.volume_attach)
        for host in hosts_of(settings)
    }


def network(settings: Settings, say: Say | None = None) -> SimulatedNetwork:
    """The network driver."""
    return SimulatedNetwork(make_world(settings))


def volume(settings: Settings, say: Say | None = None) -> SimulatedVolume:
    """The volume driver."""
    return SimulatedVolume(make_world(settings), api=settings.volume_api)


def image(settings: Settings, say: Say | None = None) -> SimulatedImage:
    """The image driver."""
    return SimulatedImage(make_world(settings))


def all_drivers(settings: Settings, say: Say | None = None) -> World:
    """Every driver of these settings, over one world: what an engine is opened with."""
    return World(
        computes=computes(settings),
        network=network(settings),
        volume=volume(settings),
        image=image(settings),
    )


def drivers_of(
    world: SimulatedWorld,
    *hosts: str,
    volume_attach: str = "auto",
    volume_api: str = "auto",
) -> World:
    """Every driver over `world`, for `hosts` (`sim1` when none is named)."""
    return World(
        computes={
            host: SimulatedCompute(world, host, volume_attach=volume_attach)
            for host in hosts or DEFAULT_HOSTS
        },
        network=SimulatedNetwork(world),
        volume=SimulatedVolume(world, api=volume_api),
        image=SimulatedImage(world),
    )


def _place_of(settings: Settings) -> str | None:
    """The path in `connect` without its first slash, empty for memory; None without `connect`."""
    connect = settings.connect
    if connect is None:
        return None
    if not connect.startswith(SCHEME):
        raise BadInput(f"a simulated world is {SCHEME} or {SCHEME}path/to/{_FILE}, not {connect!r}")
    return urlsplit(connect).path.strip("/")


_guard = threading.Lock()
# held by their drivers alone, so that a world in memory goes with its engines
_open: weakref.WeakValueDictionary[str, SimulatedWorld] = weakref.WeakValueDictionary()
