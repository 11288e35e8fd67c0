"""How a simulated world behaves, as one frozen value that is kept in the world itself.

It is part of the world and not of a process: a conductor that opens a shared world finds the
options that whoever made it has set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Final

from buildflow.drivers.protocols import Json
from buildflow.errors import BadInput

BOOTS: Final = "boots"
SILENT: Final = "silent"
POWERS_OFF: Final = "powers_off"
CRASHES: Final = "crashes"
PAUSES: Final = "pauses"
BEHAVIOURS: Final = (BOOTS, SILENT, POWERS_OFF, CRASHES, PAUSES)


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a host has for guests: memory in MiB and vcpus; None is without limit."""

    memory_mib: int | None = None
    vcpus: int | None = None


@dataclass(frozen=True, slots=True)
class WorldOptions:
    """All of a world's behaviour. Times in seconds on the world's clock.

    Guests: `boot_seconds` after its start a guest does what `guest` says: `boots` (the marker comes
    on its console), `silent` (it never does), `powers_off`, `crashes` or `pauses`; `guests` says it
    for single names.

    Volumes: a new one is `creating` for `volume_seconds`, then `volume_becomes` (available or
    error). `export_fails`: the backend cannot export. `service_token`: whether our requests carry a
    service token, without which an attachment with an instance and a connection cannot be deleted;
    Cinder then answers `service_token_code`.

    Ports: `network_admin`: whether we may bind them. A bound port is ACTIVE after `port_seconds`,
    never when that is None. `unbindable_prefix`: hosts of such names give binding_failed.

    Hosts: `capacity` by host; `full_disks` names hosts whose disk is full, `missing_bridges`
    `host/bridge` pairs, `kvm` whether a boot probe has passed.

    `port_quota` and `volume_quota` are the project's; `latency_s` is what each driver call takes.
    """

    boot_seconds: float = 0.0
    guest: str = BOOTS
    guests: Mapping[str, str] = field(default_factory=dict)
    volume_seconds: float = 0.0
    volume_becomes: str = "available"
    export_fails: bool = False
    service_token: bool = True
    service_token_code: int = 409
    network_admin: bool = True
    port_seconds: float | None = 0.0
    unbindable_prefix: str = "nobind"
    capacity: Mapping[str, Capacity] = field(default_factory=dict)
    full_disks: tuple[str, ...] = ()
    missing_bridges: tuple[str, ...] = ()
    kvm: bool = False
    port_quota: int | None = None
    volume_quota: int | None = None
    latency_s: float = 0.0

    def __post_init__(self) -> None:
        for behaviour in (self.guest, *self.guests.values()):
            if behaviour not in BEHAVIOURS:
                raise BadInput(f"a guest {', '.join(BEHAVIOURS)}; not {behaviour!r}")

    def behaviour_of(self, name: str) -> str:
        """What a guest of this name does once it has started."""
        return self.guests.get(name, self.guest)

    def capacity_of(self, host: str) -> Capacity:
        """What this host has for guests."""
        return self.capacity.get(host, _BOUNDLESS)

    def to_json(self) -> Json:
        """As it is kept in the world."""
        return asdict(self)


_BOUNDLESS: Final = Capacity()
_NAMES: Final = frozenset(each.name for each in fields(WorldOptions))


def options_from(values: Mapping[str, object]) -> WorldOptions:
    """The options from JSON. Raises BadInput for names that there are not."""
    unknown = sorted(set(values) - _NAMES)
    if unknown:
        raise BadInput(
            f"a simulated world has no option {', '.join(unknown)}; it has"
            f" {', '.join(sorted(_NAMES))}"
        )
    given = dict(values)
    for name in ("full_disks", "missing_bridges"):
        if name in given:
            given[name] = tuple(given[name])  # type: ignore[arg-type]
    capacity = given.get("capacity")
    if isinstance(capacity, Mapping):
        given["capacity"] = {
            host: each if isinstance(each, Capacity) else Capacity(**each)
            for host, each in capacity.items()
        }
    return WorldOptions(**given)  # type: ignore[arg-type]
