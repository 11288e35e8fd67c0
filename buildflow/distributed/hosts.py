"""`--host [NAME=]URI[,vcpus=N][,memory=MIB][,disk=GIB]`: the hosts that a conductor serves."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from buildflow.config import Settings
from buildflow.distributed.capacity import HostRow
from buildflow.drivers.libvirt.uri import parse, refuse_password
from buildflow.drivers.protocols import CapacityDriver, ComputeDriver
from buildflow.drivers.world import LazyHosts, World
from buildflow.engine.clock import Clock
from buildflow.engine.store import Store
from buildflow.errors import BadInput, HostUnusable
from buildflow.redact import without_credentials

# as Nova's cpu_allocation_ratio: a guest's processor is seldom busy
VCPUS_PER_CPU: Final = 4
NAME_MAX: Final = 255
# what a column of the store takes
SIZE_MAX: Final = 2**31 - 1
_SIMULATED = {"vcpus": 64, "memory_mib": 256 * 1024, "disk_gib": 4096}
_KEYS: Final = {"vcpus": "vcpus", "memory": "memory_mib", "disk": "disk_gib"}


@dataclass(frozen=True, slots=True)
class Host:
    """One host as asked for on the command line; sizes that were not given are found out."""

    name: str
    uri: str
    vcpus: int | None = None
    memory_mib: int | None = None
    disk_gib: int | None = None


def require_name(whose: str, name: str) -> None:
    """Refuse a name that no listing could show. Raises BadInput."""
    if not (0 < len(name.strip()) <= NAME_MAX and name.isprintable()):
        raise BadInput(f"{whose}'s name has 1 to {NAME_MAX} printable characters")


def parse_host(text: str) -> Host:
    """A Host from its text. Raises BadInput."""
    address, *pairs = text.split(",")
    name, equals, uri = address.partition("=")
    if not equals or "://" in name or ":" in name:
        uri, name = address, ""
    if name:
        require_name("a host", name)
    if ":" not in uri or (equals and uri is not address and not name):
        raise BadInput(f"--host {text!r}: give NAME=URI, such as h1=qemu:///embed?root=/srv/h1")
    refuse_password(uri)
    sizes: dict[str, int] = {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        if key not in _KEYS or not value.isdecimal() or not 1 <= int(value) <= SIZE_MAX:
            raise BadInput(
                f"--host {text!r}: {pair!r} is none of vcpus=N, memory=MIB, disk=GIB with a number"
                f" from 1 to {SIZE_MAX}"
            )
        sizes[_KEYS[key]] = int(value)
    return Host(name or _default_name(uri), uri, **sizes)


def parse_hosts(texts: Sequence[str]) -> list[Host]:
    """Every host, each name once. Raises BadInput."""
    hosts = [parse_host(text) for text in texts]
    names = [host.name for host in hosts]
    for name in names:
        if names.count(name) > 1:
            raise BadInput(f"two hosts are named {name!r}: give each a NAME=URI of its own")
    return hosts


def _default_name(uri: str) -> str:
    return urlsplit(uri).hostname or os.uname().nodename


def is_simulated(host: Host) -> bool:
    """Whether it exists only for exploration."""
    return host.uri.startswith("sim:")


def offered(host: Host, settings: Settings) -> HostRow:
    """A host with its room: as given, else as this machine or the remote hypervisor has it."""
    if host.vcpus and host.memory_mib and host.disk_gib:
        facts = {"vcpus": 0, "memory_mib": 0, "disk_gib": 0}
    elif is_simulated(host):
        facts = dict(_SIMULATED)
    elif urlsplit(host.uri).hostname:
        facts = _remote(host.uri)
    else:
        facts = _local(settings)
    return HostRow(
        name=host.name,
        uri=without_credentials(host.uri),
        vcpus=host.vcpus or facts["vcpus"],
        memory_mib=host.memory_mib or facts["memory_mib"],
        disk_gib=host.disk_gib or facts["disk_gib"],
    )


def _local(settings: Settings) -> dict[str, int]:
    import psutil

    return {
        "vcpus": VCPUS_PER_CPU * (os.cpu_count() or 1),
        "memory_mib": psutil.virtual_memory().total >> 20,
        "disk_gib": shutil.disk_usage(_there(settings.home)).total >> 30,
    }


def _there(path: Path) -> Path:
    """It or the directory in which it is going to be made."""
    return next(each for each in (path, *path.parents) if each.exists())


def _remote(uri: str) -> dict[str, int]:
    import libvirt

    # without it libvirt prints what it also raises
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    try:
        connection = libvirt.openReadOnly(uri)
    except libvirt.libvirtError as error:
        raise HostUnusable(
            f"cannot ask {uri} what room it has: {error.get_error_message()};"
            " give vcpus=, memory= and disk="
        ) from error
    try:
        _, memory_mib, cpus, *_ = connection.getInfo()
    finally:
        connection.close()
    return {"vcpus": VCPUS_PER_CPU * cpus, "memory_mib": memory_mib, "disk_gib": 1 << 20}


def world_of_hosts(
    settings: Settings,
    hosts: Sequence[Host],
    capacity: CapacityDriver,
    say: Callable[[str], None] = lambda _line: None,
    *,
    standby: Sequence[Host] = (),
) -> World:
    """The drivers of several hosts, each opened when a build is placed on it.

    `standby` are opened only to finish what a conductor that died has begun on them.
    """
    from buildflow.drivers.registry import open_driver

    first = _settings_of(settings, [*hosts, *standby][0])
    makers = {host.name: partial(_open_host, settings, host, say) for host in (*hosts, *standby)}
    return World(
        computes=LazyHosts(makers),
        network=partial(open_driver, "network", first, say),
        volume=partial(open_driver, "volume", first, say),
        image=partial(open_driver, "image", first, say),
        capacity=capacity,
        standby=[host.name for host in standby],
    )


def stand_by_shared(world: World, settings: Settings, store: Store, clock: Clock) -> None:
    """Have `world` serve the hosts that conductors have offered, to finish what is on them.

    Without any it stays as it is.
    """
    from buildflow.distributed.capacity import Capacity

    capacity = Capacity(store, clock)
    found = [Host(row["name"], row["uri"]) for row in capacity.listed()]
    if found:
        world.capacity = capacity
        others = [host for host in found if host.name not in world.computes]
        world.stand_by({host.name: partial(_open_host, settings, host, _silent) for host in others})


def require_one_root(hosts: Sequence[Host]) -> None:
    """Refuse two embedded hypervisors: libvirt runs one in a process. Raises BadInput."""
    embedded = [host.name for host in hosts if urlsplit(host.uri).path.startswith("/embed")]
    if len(embedded) > 1:
        raise BadInput(
            f"{' and '.join(embedded)} are embedded hypervisors, and a process can run one: start"
            " a conductor for each"
        )


def require_served(hosts: Sequence[Host], settings: Settings) -> None:
    """Refuse a URI that is not one of libvirt's QEMU driver, if that is to serve, and a simulated
    world without a file. Raises BadInput.

    A conductor would take the host for one that is down, and wait for it.
    """
    from buildflow.drivers.registry import ALIASES, default_name
    from buildflow.drivers.simulated.factory import SCHEME

    for host in hosts:
        if is_simulated(host):
            path = Path(unquote(urlsplit(host.uri).path) or "/")
            if not host.uri.startswith(SCHEME) or path.is_dir() or not path.parent.is_dir():
                raise BadInput(
                    f"host {host.name}: {host.uri} names no file in a directory that is there: give"
                    " sim:///DIRECTORY/world.jsonl"
                )
        its = _settings_of(settings, host)
        driver = its.compute_driver or default_name("compute", its)
        if ALIASES["compute"].get(driver, driver) == "libvirt":
            parse(host.uri)


def _silent(_line: str) -> None:
    return


def _settings_of(settings: Settings, host: Host) -> Settings:
    extra = {**settings.extra, "host": host.name}
    driver = "simulated" if is_simulated(host) else settings.compute_driver
    return replace(settings, connect=host.uri, compute_driver=driver, extra=extra)


def _open_host(settings: Settings, host: Host, say: Callable[[str], None]) -> ComputeDriver:
    from buildflow.drivers.registry import open_driver

    driver = open_driver("compute", _settings_of(settings, host), say)
    driver.check()
    return driver
