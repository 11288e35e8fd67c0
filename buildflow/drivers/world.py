"""The drivers of one engine, and which of them serves a host."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Any, cast
from weakref import WeakKeyDictionary

from buildflow.drivers.protocols import (
    CapacityDriver,
    ComputeDriver,
    Driver,
    ImageDriver,
    NetworkDriver,
    Thing,
    VolumeDriver,
)
from buildflow.errors import HostElsewhere

# asked once a class: a look at each member of the protocol costs more than many a driver's call
_DRIVERS: WeakKeyDictionary[type, bool] = WeakKeyDictionary()


def _is_driver(service: Any) -> bool:
    """Whether this is a driver, and not a function that opens one."""
    known = _DRIVERS.get(type(service))
    if known is None:
        known = _DRIVERS[type(service)] = isinstance(service, Driver)
    return known


class LazyHosts(Mapping[str, ComputeDriver]):
    """Hosts by name, each opened when a build first needs it.

    An embedded hypervisor serves one process at a time: a conductor that may take another's host
    over must not hold it before.
    """

    def __init__(self, makers: Mapping[str, Callable[[], ComputeDriver]]) -> None:
        self._makers = dict(makers)
        self.opened: dict[str, ComputeDriver] = {}
        # one each: a host whose hypervisor is busy keeps no build on another host waiting
        self._locks = {host: threading.RLock() for host in makers}

    def __getitem__(self, host: str) -> ComputeDriver:
        with self._locks[host]:
            if host not in self.opened:
                self.opened[host] = self._makers[host]()
            return self.opened[host]

    def __contains__(self, host: object) -> bool:
        return host in self._makers

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


def _opened(computes: Mapping[str, ComputeDriver]) -> Mapping[str, ComputeDriver]:
    """Those that have been needed so far."""
    return computes.opened if isinstance(computes, LazyHosts) else computes


class World:
    """What the flows act on: hypervisors by host, and the services they share.

    A service is given as its driver, or as a function that opens it when a build first needs it: a
    build without volumes never talks to Cinder. `validated` holds the builds whose request this
    very process has just checked against it. `capacity` is there where hosts are shared.
    `standby` names hosts that are served only to finish what was begun on them.
    """

    def __init__(
        self,
        computes: Mapping[str, ComputeDriver],
        network: NetworkDriver | Callable[[], Any],
        volume: VolumeDriver | Callable[[], Any],
        image: ImageDriver | Callable[[], Any],
        capacity: CapacityDriver | None = None,
        standby: Collection[str] = (),
    ) -> None:
        self.computes = computes
        self._standby = set(standby)
        self.capacity = capacity
        self.validated: set[str] = set()
        self._services: dict[str, Any] = {"network": network, "volume": volume, "image": image}
        self._opened = {
            name: service for name, service in self._services.items() if _is_driver(service)
        }
        self._lock = threading.RLock()

    def _service(self, name: str) -> Any:
        service = self._opened.get(name)
        if service is None:
            with self._lock:
                service = self._opened.get(name)
                if service is None:
                    service = self._opened[name] = self._services[name]()
        return service

    def is_open(self, host: str) -> bool:
        """Whether the hypervisor of `host` has been needed so far."""
        return host in _opened(self.computes)

    def open_hosts(self) -> None:
        """Open every hypervisor that a new build may be placed on. Raises HostUnusable."""
        for host in self.hosts:
            self.on(host)

    def stand_by(self, makers: Mapping[str, Callable[[], ComputeDriver]]) -> None:
        """Serve further hosts, though only to finish or remove what is on them."""
        own = self.computes
        both = LazyHosts({**{host: partial(own.__getitem__, host) for host in own}, **makers})
        both.opened.update(_opened(own))
        self.computes = both
        self._standby |= makers.keys()

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
        """Every host that a new build may be placed on, the default one first."""
        return [host for host in self.computes if host not in self._standby]

    def on(self, host: str) -> ComputeDriver:
        """The hypervisor of `host`. Raises HostElsewhere for one that is not served here."""
        try:
            return self.computes[host]
        except KeyError:
            served = ", ".join(self.computes)
            raise HostElsewhere(
                f"host {host!r} is not served by this process (it serves {served})"
            ) from None

    def place(self, service: str, facts: Mapping[str, Any]) -> str | None:
        """Where the driver of `service` (compute, network, volume) has or would have the effect
        with these facts: see the protocol. None for one that is in the store itself.
        """
        if service == "capacity":
            return None
        driver = self._driver(service, facts)
        place = getattr(driver, "place", None)
        return str(driver.name if place is None else place(facts))

    def folder(self, service: str, kind: str, facts: Mapping[str, Any]) -> str | None:
        """In which folder of this machine that driver has it or would: see the protocol."""
        if service == "capacity":
            return None
        folder = getattr(self._driver(service, facts), "folder", None)
        return None if folder is None else folder(kind, facts)

    def _driver(self, service: str, facts: Mapping[str, Any]) -> Any:
        return self.on(facts["host"]) if service == "compute" else self._service(service)

    def drivers(self, *, opened: bool = False) -> Iterator[Driver]:
        """Each driver once, of the hosts that are not only stood by for; with `opened` those that
        were needed so far.
        """
        seen: set[int] = set()
        if opened:
            services = list(self._opened.values())
            computes = list(_opened(self.computes).values())
        else:
            services = [self._service(name) for name in self._services]
            computes = [self.computes[host] for host in self.hosts]
        for driver in (*computes, *services):
            if id(driver) not in seen:
                seen.add(id(driver))
                yield driver

    def inventory(self) -> list[Thing]:
        """Everything of our kinds that exists now, in a fixed order."""
        things = [thing for driver in self.drivers() for thing in driver.inventory()]
        if self.capacity is not None:
            things += self.capacity.inventory()
        return sorted(things, key=lambda t: (t.kind, t.id))

    def close(self) -> None:
        """Let go of everything."""
        for driver in self.drivers(opened=True):
            driver.close()
