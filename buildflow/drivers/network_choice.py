"""`user` and `bridge:NAME` beside real networks: every hypervisor has them, whatever else it has.

The request names the network; afterwards the port's own network tells whose it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from buildflow.config import Settings
from buildflow.drivers.protocols import Json, NetworkDriver, PortRequest, Thing
from buildflow.drivers.user_network import UserNetworkDriver, open_user_network, serves


class NetworkChoice:
    """NetworkDriver that hands `user` and bridges to `user` and all else to `other`."""

    def __init__(self, user: UserNetworkDriver, other: NetworkDriver) -> None:
        self.name = other.name
        self._user = user
        self._other = other

    def _for_request(self, request: PortRequest) -> NetworkDriver:
        return self._user if serves(request.network) else self._other

    def _for_port(self, port: Json) -> NetworkDriver:
        return self._user if serves(port["network"]["id"]) else self._other

    def place(self, facts: Json) -> str:
        """Of a port that is asked for, or of one that is there."""
        driver = self._for_facts(facts)
        place = getattr(driver, "place", None)
        return driver.name if place is None else str(place(facts))

    def folder(self, kind: str, facts: Json) -> str | None:
        """As the network's own driver."""
        folder = getattr(self._for_facts(facts), "folder", None)
        return None if folder is None else folder(kind, facts)

    def _for_facts(self, facts: Json) -> NetworkDriver:
        port, request = facts.get("port"), facts.get("request")
        if port is not None:
            return self._for_port(port)
        return self._for_request(PortRequest(**(request or {"network": None})))

    def check(self) -> None:
        """See that the other one can be used."""
        self._other.check()

    def inventory(self) -> Iterable[Thing]:
        """The ports of both."""
        yield from self._user.inventory()
        yield from self._other.inventory()

    def close(self) -> None:
        """Close both."""
        self._user.close()
        self._other.close()

    def validate(self, request: PortRequest) -> None:
        """As the network's own driver."""
        self._for_request(request).validate(request)

    def find_port(self, key: str, request: PortRequest) -> Json | None:
        """As the network's own driver."""
        return self._for_request(request).find_port(key, request)

    def create_port(self, key: str, instance: str, hostname: str, request: PortRequest) -> Json:
        """As the network's own driver."""
        return self._for_request(request).create_port(key, instance, hostname, request)

    def delete_port(self, key: str, port: Json) -> None:
        """As the port's own driver."""
        self._for_port(port).delete_port(key, port)

    def bind_port(self, key: str, port: Json, host: str) -> Json:
        """As the port's own driver."""
        return self._for_port(port).bind_port(key, port, host)

    def find_binding(self, key: str, port: Json, host: str) -> Json | None:
        """As the port's own driver."""
        return self._for_port(port).find_binding(key, port, host)

    def unbind_port(self, key: str, port: Json, host: str) -> None:
        """As the port's own driver."""
        self._for_port(port).unbind_port(key, port, host)

    def port_active(self, port: Json) -> bool:
        """As the port's own driver."""
        return self._for_port(port).port_active(port)


def libvirt_or_user(settings: Settings, say: Callable[[str], None]) -> NetworkDriver:
    """libvirt's networks, and `user`."""
    from buildflow.drivers.libvirt import factory

    return NetworkChoice(open_user_network(settings, say), factory.network(settings, say))


def neutron_or_user(settings: Settings, say: Callable[[str], None]) -> NetworkDriver:
    """Neutron's networks, and `user`."""
    from buildflow.drivers.openstack import factory

    return NetworkChoice(open_user_network(settings, say), factory.network(settings, say))
