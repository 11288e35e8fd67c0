"""The drivers of one engine, and which of them serves a host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from buildflow.drivers.protocols import (
    ComputeDriver,
    Driver,
    ImageDriver,
    NetworkDriver,
    Thing,
    VolumeDriver,
)
from buildflow.errors import HostUnusable


@dataclass(slots=True)
class World:
    """What the flows act on: hypervisors by host, and the services they share.

    `validated` holds the builds whose request this very process has just checked against it.
    """

    computes: Mapping[str, ComputeDriver]
    network: NetworkDriver
    volume: VolumeDriver
    image: ImageDriver
    validated: set[str] = field(default_factory=set)

    @property
    def hosts(self) -> list[str]:
        """Every host, the default one first."""
        return list(self.computes)

    def on(self, host: str) -> ComputeDriver:
        """The hypervisor of `host`. Raises HostUnusable for one that is not served here."""
        try:
            return self.computes[host]
        except KeyError:
            raise HostUnusable(
                f"host {host!r} is not served by this process (it serves {', '.join(self.computes)})"
            ) from None

    def drivers(self) -> Iterator[Driver]:
        """Each driver once."""
        seen: set[int] = set()
        for driver in (*self.computes.values(), self.network, self.volume, self.image):
            if id(driver) not in seen:
                seen.add(id(driver))
                yield driver

    def inventory(self) -> list[Thing]:
        """Everything of our kinds that exists now, in a fixed order."""
        things = [thing for driver in self.drivers() for thing in driver.inventory()]
        return sorted(things, key=lambda t: (t.kind, t.id))

    def close(self) -> None:
        """Let go of everything."""
        for driver in self.drivers():
            driver.close()
