"""The network driver of a simulated cloud: ports with addresses, bound to hosts."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from buildflow.drivers.macs import check_mac, mac_from_key
from buildflow.drivers.protocols import Json, PortRequest, Thing
from buildflow.drivers.simulated import inventory
from buildflow.drivers.simulated.change import Change
from buildflow.drivers.simulated.content import DEFAULT_NETWORK, network_named
from buildflow.drivers.simulated.launch import live_users
from buildflow.drivers.simulated.names import derive
from buildflow.drivers.simulated.state import State
from buildflow.errors import (
    BadInput,
    BindingFailed,
    Conflict,
    HostUnusable,
    NoAddressLeft,
    NotFound,
    QuotaUsedUp,
    Refused,
)

if TYPE_CHECKING:
    from buildflow.drivers.simulated.world import SimulatedWorld

_UNBOUND: Final[Json] = {"host": None, "bound_at": None, "binding_key": None}
_UNCLAIMED: Final[Json] = {"key": None, "instance": None, "hostname": "", **_UNBOUND}
_USER_ADDRESS: Final = 15  # of QEMU's own network, the same for every guest


class SimulatedNetwork:
    """NetworkDriver over `world`. A network that is not named is the one called `default`."""

    name = "simulated"

    def __init__(self, world: SimulatedWorld) -> None:
        self.world = world

    def check(self) -> None:
        """See that ports could be bound. Raises HostUnusable."""
        with self.world.look():
            self._check_rights()

    def inventory(self) -> Iterable[Thing]:
        """The ports that carry a key of ours."""
        self.world.delay()
        with self.world.look() as state:
            return list(inventory.ports(state))

    def close(self) -> None:
        """The world stays."""

    def validate(self, request: PortRequest) -> None:
        """Refuse what cannot be had: NotFound, BadInput, Conflict; HostUnusable when we may not
        bind ports.
        """
        self.world.delay()
        with self.world.look() as state:
            self._check(state, request, None)
            self._check_rights()

    # --- ports ----------------------------------------------------------------------------------

    def find_port(self, key: str, request: PortRequest) -> Json | None:
        """The port that carries this key."""
        self.world.delay()
        with self.world.look() as state:
            record_id = state.by_port_key.get(key)
            return (
                None if record_id is None else self._entry(state, state.tables["ports"][record_id])
            )

    def create_port(self, key: str, instance: str, hostname: str, request: PortRequest) -> Json:
        """A port, or the user's own taken for this instance."""
        self.world.delay()
        with self.world.change("create_port", key) as change:
            state = change.state
            found = state.by_port_key.get(key)
            if found is not None:
                return self._entry(state, state.tables["ports"][found])
            self._check(state, request, instance)
            change.make("port", key)
            if request.port_id is not None:
                own = state.tables["ports"][request.port_id]
                port = {**own, "key": key, "instance": instance, "hostname": hostname}
            else:
                port = self._new_port(change, key, instance, hostname, request)
            change.id = port["id"]
            change.put("ports", port["id"], port)
            return self._entry(state, port)

    def delete_port(self, key: str, port: Json) -> None:
        """Delete it; let a user's own go."""
        self.world.delay()
        with self.world.change("delete_port", key, port["id"]) as change:
            found = change.state.tables["ports"].get(port["id"])
            if found is None or found["key"] != key:
                return
            self._need_quiet(change, port["id"], "deleted")
            change.put("ports", port["id"], {**found, **_UNCLAIMED} if found["own"] else None)

    # --- bindings -------------------------------------------------------------------------------

    def bind_port(self, key: str, port: Json, host: str) -> Json:
        """Bind it to `host`. Raises NotFound, and Refused on 403 or binding_failed."""
        self.world.delay()
        with self.world.change("bind_port", key, port["id"]) as change:
            options = self.world.options
            found = change.state.tables["ports"].get(port["id"])
            if found is None:
                raise NotFound(f"no port {port['id']}")
            if found["host"] == host:
                return self._entry(change.state, found)
            if not options.network_admin:
                raise Refused(
                    f"cannot bind port {port['id']}: rule:update_port:binding:host_id is disallowed"
                    " by policy (HTTP 403)",
                    driver="network",
                    code=403,
                )
            if options.unbindable_prefix and host.startswith(options.unbindable_prefix):
                raise BindingFailed(
                    f"Neutron could not bind port {port['id']} on {host}: binding_failed",
                    driver="network",
                )
            change.make("binding", key)
            bound = {**found, "host": host, "bound_at": change.now, "binding_key": key}
            change.put("ports", port["id"], bound)
            return self._entry(change.state, bound)

    def find_binding(self, key: str, port: Json, host: str) -> Json | None:
        """The entry when it is bound to `host`."""
        self.world.delay()
        with self.world.look() as state:
            found = state.tables["ports"].get(port["id"])
            return None if found is None or found["host"] != host else self._entry(state, found)

    def unbind_port(self, key: str, port: Json, host: str) -> None:
        """Take the binding back."""
        self.world.delay()
        with self.world.change("unbind_port", key, port["id"]) as change:
            found = change.state.tables["ports"].get(port["id"])
            if found is None or found["host"] != host:
                return
            self._need_quiet(change, port["id"], "unbound")
            change.put("ports", port["id"], {**found, **_UNBOUND})

    def port_active(self, port: Json) -> bool:
        """Whether it is bound, and has been for as long as the world's options say. Raises NotFound
        when it is gone.
        """
        self.world.delay()
        with self.world.look() as state:
            found = state.tables["ports"].get(port["id"])
            seconds = self.world.options.port_seconds
            if found is None:
                raise NotFound(f"port {port['id']} is not there any more")
            if found["host"] is None or seconds is None:
                return False
            return bool(self.world.now() >= found["bound_at"] + seconds)

    # --- inside ---------------------------------------------------------------------------------

    def _check_rights(self) -> None:
        if not self.world.options.network_admin:
            raise HostUnusable(
                "these credentials may not bind a port to a host (Neutron wants the role admin or"
                " service)"
            )

    def _check(self, state: State, request: PortRequest, instance: str | None) -> None:
        if request.port_id is not None:
            own = state.tables["ports"].get(request.port_id)
            if own is None:
                raise NotFound(f"no port {request.port_id}")
            if own["instance"] not in (None, instance):
                raise Conflict(f"port {request.port_id} is in use by {own['instance']}")
            if request.mac not in (None, own["mac"]):
                raise BadInput(f"port {own['id']} has the MAC {own['mac']}, not {request.mac}")
            if request.fixed_ip not in (None, own["ip"]):
                raise BadInput(f"port {own['id']} has not the address {request.fixed_ip}")
            return
        network = network_named(state.tables["networks"], request.network)
        if network is None:
            raise NotFound(f"no network {request.network or DEFAULT_NETWORK}")
        if request.mac is not None:
            check_mac(request.mac)
            if network["type"] != "user" and request.mac in state.macs:
                raise Conflict(f"MAC address {request.mac} is in use by another port (HTTP 409)")
        if request.fixed_ip is None:
            return
        if not _has_address(network["cidr"], request.fixed_ip):
            raise BadInput(
                f"{request.fixed_ip} is no address of network {network['name']} ({network['cidr']})"
            )
        taken = state.addresses.get(f"{network['id']}/{request.fixed_ip}")
        if taken is not None and network["type"] != "user":
            raise Conflict(
                f"IP address {request.fixed_ip} is already allocated in network"
                f" {network['name']} (HTTP 409)"
            )

    def _new_port(
        self, change: Change, key: str, instance: str, hostname: str, request: PortRequest
    ) -> Json:
        state = change.state
        network = network_named(state.tables["networks"], request.network)
        assert network is not None
        quota = self.world.options.port_quota
        if quota is not None and len(state.tables["ports"]) >= quota:
            raise QuotaUsedUp(
                "cannot create a port: Quota exceeded for resources: ['port'] (HTTP 409)",
                driver="network",
                code=409,
            )
        mac, turn = request.mac or mac_from_key(key), 0
        while request.mac is None and mac in state.macs:
            turn += 1
            mac = mac_from_key(key, turn)
        if network["type"] == "user":
            ip = _dotted(_pool(network["cidr"])[0] + _USER_ADDRESS)
        else:
            ip = request.fixed_ip or _free_address(state, network, key)
        return {
            "id": derive("port", key), "key": key, "instance": instance, "hostname": hostname,
            "network": network["id"], "mac": mac, "ip": ip, "host": None, "bound_at": None,
            "binding_key": None, "own": False,
        }  # fmt: skip

    def _entry(self, state: State, port: Json) -> Json:
        network = state.tables["networks"][port["network"]]
        ips = [{"address": port["ip"], "type": "fixed"}] if port["ip"] is not None else []
        base = _pool(network["cidr"])[0]
        kind = network["type"]
        return {
            "id": port["id"],
            "address": port["mac"],
            "type": kind,
            "network": {
                "id": network["id"],
                "label": network["name"],
                "bridge": network["bridge"],
                "subnets": [
                    {
                        "cidr": network["cidr"],
                        "gateway": _dotted(base + (2 if kind == "user" else 1)),
                        "dns": list(network["dns"]),
                        "ips": ips,
                    }
                ],
            },
            "details": {},
            "devname": None if kind == "user" else f"tap{port['id'][:11]}",
            "active": port["host"] is not None,
            "preexisting": port["own"],
        }

    def _need_quiet(self, change: Change, port_id: str, done: str) -> None:
        for user in live_users(change.state, f"port:{port_id}", change.now):
            change.violate(f"port {port_id} was {done} under the running guest {user['uuid']}")


@functools.lru_cache(maxsize=256)
def _pool(cidr: str) -> tuple[int, int]:
    """The network's own address as a number, and how many it has."""
    network = ipaddress.IPv4Network(cidr)
    return int(network.network_address), network.num_addresses


def _has_address(cidr: str, address: str) -> bool:
    try:
        number = int(ipaddress.IPv4Address(address))
    except ValueError:
        return False
    base, size = _pool(cidr)
    return base < number < base + size - 1


def _free_address(state: State, network: Json, key: str) -> str:
    """A free address: where the key points, or the next one, so that it is soon found and always
    the same. The first belongs to the gateway, the last is the broadcast.
    """
    base, size = _pool(network["cidr"])
    first, count = 2, size - 3
    start = int(derive("address", key)[:8], 16)
    for step in range(max(count, 0)):
        address = _dotted(base + first + (start + step) % count)
        if f"{network['id']}/{address}" not in state.addresses:
            return address
    raise NoAddressLeft(
        f"cannot create a port: no more IP addresses available on network {network['name']}"
        " (HTTP 409)",
        driver="network",
        code=409,
    )


def _dotted(number: int) -> str:
    return f"{number >> 24 & 255}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
