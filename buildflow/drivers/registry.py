"""Which driver serves: names to factories. A driver's module is imported when it is opened.

A third party adds a driver by an entry point in the group `buildflow.compute`, `buildflow.network`,
`buildflow.volume` or `buildflow.image`; its factory takes the settings and `say`, as ours do.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, Final, Literal, cast, overload

from buildflow.config import Settings
from buildflow.drivers.libvirt.uri import parse
from buildflow.drivers.protocols import (
    ComputeDriver,
    Driver,
    ImageDriver,
    NetworkDriver,
    VolumeDriver,
)
from buildflow.errors import BadInput

DriverKind = Literal["compute", "network", "volume", "image"]
Say = Callable[[str], None]
# settings, and where to put one-line messages for the user (waiting for a hypervisor)
Factory = Callable[[Settings, Say], Driver]

KINDS: Final[tuple[DriverKind, ...]] = ("compute", "network", "volume", "image")

# kind -> name -> "module:function"
BUILT_IN: Final[dict[str, dict[str, str]]] = {
    "compute": {
        "libvirt": "buildflow.drivers.libvirt.factory:compute",
        "simulated": "buildflow.drivers.simulated.factory:compute",
    },
    "network": {
        "user": "buildflow.drivers.user_network:open_user_network",
        "libvirt": "buildflow.drivers.network_choice:libvirt_or_user",
        "neutron": "buildflow.drivers.network_choice:neutron_or_user",
        "simulated": "buildflow.drivers.simulated.factory:network",
    },
    "volume": {
        "local": "buildflow.drivers.local_volume:open_local_volumes",
        "cinder": "buildflow.drivers.openstack.factory:volume",
        "simulated": "buildflow.drivers.simulated.factory:volume",
    },
    "image": {
        "file": "buildflow.drivers.files.image_files:open_image_files",
        "glance": "buildflow.drivers.image_choice:glance_or_file",
        "simulated": "buildflow.drivers.simulated.factory:image",
    },
}

# Nova's way of naming a driver, module and class, is understood as well
ALIASES: Final[dict[str, dict[str, str]]] = {
    "compute": {"libvirt.LibvirtDriver": "libvirt", "fake.FakeDriver": "simulated"},
    "network": {},
    "volume": {},
    "image": {},
}


@overload
def open_driver(kind: Literal["compute"], settings: Settings, say: Say = ...) -> ComputeDriver: ...
@overload
def open_driver(kind: Literal["network"], settings: Settings, say: Say = ...) -> NetworkDriver: ...
@overload
def open_driver(kind: Literal["volume"], settings: Settings, say: Say = ...) -> VolumeDriver: ...
@overload
def open_driver(kind: Literal["image"], settings: Settings, say: Say = ...) -> ImageDriver: ...


def open_driver(kind: DriverKind, settings: Settings, say: Say = lambda _message: None) -> Any:
    """The driver of `kind` that `settings` choose. Opens no connection yet.

    `say` is told, a line at a time, what the user should know (that we wait for a hypervisor).
    Raises BadInput for an unknown name, with those there are.
    """
    return driver_factory(kind, settings)(settings, say)


def driver_factory(kind: DriverKind, settings: Settings) -> Factory:
    """What makes that driver; its module is imported. Raises BadInput as `open_driver` does."""
    return _factory(kind, getattr(settings, f"{kind}_driver") or default_name(kind, settings))


def names(kind: DriverKind) -> list[str]:
    """All names that `settings.<kind>_driver` may have, third parties' included."""
    return sorted({*BUILT_IN[kind], *ALIASES[kind], *_third_parties(kind)})


def default_name(kind: DriverKind, settings: Settings) -> str:
    """The driver that serves when none is named."""
    if kind == "compute":
        return "simulated" if _is_sim(settings) else "libvirt"
    if simulates(settings):
        return "simulated"  # a simulated hypervisor has nothing real to plug in
    if kind == "network":
        if settings.os_cloud:
            return "neutron"
        return "libvirt" if parse(settings.libvirt_uri).has_networks else "user"
    if kind == "volume":
        return "cinder" if settings.os_cloud else "local"
    return "glance" if settings.os_cloud else "file"


def simulates(settings: Settings) -> bool:
    """Whether the hypervisor is one that exists only for exploration."""
    if settings.compute_driver is not None:
        return ALIASES["compute"].get(settings.compute_driver, settings.compute_driver) == (
            "simulated"
        )
    return _is_sim(settings)


def _is_sim(settings: Settings) -> bool:
    return (settings.connect or "").startswith("sim:")


def _factory(kind: DriverKind, name: str) -> Factory:
    short = ALIASES[kind].get(name, name)
    path = BUILT_IN[kind].get(short)
    if path is not None:
        module, _, function = path.partition(":")
        return cast(Factory, getattr(importlib.import_module(module), function))
    third = _third_parties(kind).get(name)
    if third is not None:
        return cast(Factory, third.load())
    raise BadInput(f"no {kind} driver is named {name!r}; there are {', '.join(names(kind))}")


def _third_parties(kind: DriverKind) -> Mapping[str, Any]:
    return {point.name: point for point in entry_points(group=f"buildflow.{kind}")}


__all__ = [
    "BUILT_IN",
    "KINDS",
    "DriverKind",
    "Factory",
    "Say",
    "default_name",
    "driver_factory",
    "names",
    "open_driver",
    "simulates",
]
