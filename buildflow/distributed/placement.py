"""Which host takes a build. Pure: rooms in, a name out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from buildflow.drivers.protocols import Demand
from buildflow.errors import NoRoom

NO_ROOM: Final = "no host has room"
# of how many hosts the reason is told: it is stored with each job that waits
TOLD: Final = 8


@dataclass(frozen=True, slots=True)
class Room:
    """What is left on one host, and what the groups say of it."""

    host: str
    state: str
    vcpus: int
    memory_mib: int
    disk_gib: int
    anti_affine: bool = False
    group_elsewhere: bool = False

    def refusal(self, demand: Demand) -> str | None:
        """Why this host can't take it, in a few words; None when it can."""
        if self.state != "up":
            return f"it is {self.state}"
        if self.anti_affine:
            return f"it has a machine of anti-affinity group {demand.anti_affinity_group}"
        if self.group_elsewhere:
            return f"affinity group {demand.affinity_group} is on another host"
        for what, have, want, unit in (
            ("vcpus", self.vcpus, demand.vcpus, ""),
            ("memory", self.memory_mib, demand.memory_mib, " MiB"),
            ("disk", self.disk_gib, demand.disk_gib, " GiB"),
        ):
            if want > have:
                return f"{max(have, 0)}{unit} of {what} free, {want}{unit} wanted"
        return None


def choose(rooms: Sequence[Room], demand: Demand, tried: Sequence[str]) -> str:
    """The host with the most free memory, then vcpus, then by name, of those not tried yet.

    Raises NoRoom with the reasons of the first `TOLD` hosts when none can take it.
    """
    reasons: list[str] = []
    able: list[Room] = []
    for room in rooms:
        if room.host in tried:
            reasons.append(f"{room.host}: tried")
            continue
        refusal = room.refusal(demand)
        if refusal is None:
            able.append(room)
        else:
            reasons.append(f"{room.host}: {refusal}")
    if not able:
        more = [f"and {len(reasons) - TOLD} more"] if len(reasons) > TOLD else []
        told = "; ".join([*reasons[:TOLD], *more]) if reasons else "there is none"
        raise NoRoom(f"{NO_ROOM} ({told})")
    best = min(able, key=lambda r: (-r.memory_mib, -r.vcpus, -r.disk_gib, r.host))
    return best.host
