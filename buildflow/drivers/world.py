"""The drivers of one engine, and which of them serves a host."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from buildflow.drivers.protocols import (
    CapacityDriver,
    ComputeDriver,
    Driver,
    ImageDriver,
    NetworkDriver,
    Thing,
    VolumeDriver,
)
from buildflow.errors import HostUnusable


class World:
    """What the flows act on: hypervisors by host, and the services they share.

    A service is given as its driver, or as a function that opens it when a build first needs it: a
    build without volumes never talks to Cinder. `validated` holds the builds whose request this
    very process has just checked against it. `capacity` is there where hosts are shared.
    """

    def __init__(
        self,
        computes: Mapping[str, ComputeDriver],
        network: NetworkDriver | Callable[[], Any],
        volume: VolumeDriver | Callable[[], Any],
        image: ImageDriver | Callable[[], Any],
        capacity: CapacityDriver | None = None,
    ) -> None:
        self.computes = computes
        self.capacity = capacity
        self.validated: set[str] = set()
        self._services: dict[str, Any] = {"network": network, "volume": volume, "image": image}
        self._lock = threading.RLock()

    def _service(self, name: str) -> Any:
        service = self._services[name]
        if not isinstance(service, Driver):
            with self._lock:
                service = self._services[name]
                if not isinstance(service, Driver):
                    service = self._services[name] = service()
        return service

    @property
    def network(self) -> NetworkDriver:
        """Ports."""
        return cast(NetworkDriver, self._service("network"))

    @property
    def volume(self) -> VolumeDriver:
        """Volumes."""
        return cast(VolumeDriver, self._service("volume"))

    @property
    def image(self) -> ImageDriver:
        """Images."""
        return cast(ImageDriver, self._service("image"))

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

    def drivers(self, *, opened: bool = False) -> Iterator[Driver]:
        """Each driver once; with `opened` only those that were needed so far."""
        seen: set[int] = set()
        services = [s for s in self._services.values() if isinstance(s, Driver)]
        if not opened:
            services = [self._service(name) for name in self._services]
        for driver in (*self.computes.values(), *services):
            if id(driver) not in seen:
                seen.add(id(driver))
                yield driver

    def inventory(self) -> list[Thing]:
        """Everything of our kinds that exists now, in a fixed order."""
        things = [thing for driver in self.drivers() for thing in driver.inventory()]
        return sorted(things, key=lambda t: (t.kind, t.id))

    def close(self) -> None:
        """Let go of everything."""
        for driver in self.drivers(opened=True):
            driver.close()
