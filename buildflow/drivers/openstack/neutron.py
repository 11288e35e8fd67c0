"""Ports from Neutron (nova/network/neutron.py), by openstacksdk.

A port carries our key in its device_owner, `compute:buildflow:KEY`: one field, written in the same
request that makes a port or claims one of the user's, so that no crash comes between, and free to
be searched for. `device_id` is the instance, as with Nova.

Who does what. The user makes the port, so that it is the project's and its quota counts. Binding,
and deleting what is owned by `compute:*`, is more than a tenant may: the service identity does it
(`os_service_cloud`), or the user where the user has such a role.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Any, Final

from openstack import exceptions as sdk_exceptions

from buildflow.config import Settings
from buildflow.drivers.openstack import vif
from buildflow.drivers.openstack.ask import ask
from buildflow.drivers.openstack.network_info import entry, with_binding
from buildflow.drivers.openstack.session import Cloud
from buildflow.drivers.protocols import Json, PortRequest, Thing
from buildflow.errors import (
    BadInput,
    BindingFailed,
    BuildflowError,
    Conflict,
    DriverError,
    HostUnusable,
    NotFound,
    Refused,
)

OWNER: Final = "compute:buildflow:"
"""device_owner of a port that a build uses; the key of its effect follows."""

MADE: Final = "made by buildflow:"
"""Description of a port that we made, before the key; one of the user's keeps its own."""

BINDING_ROLES: Final = frozenset({"admin", "service"})
"""Neutron's policy for binding:host_id is ADMIN_OR_SERVICE."""

_MAC: Final = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", re.I)


class NeutronPorts:
    """The NetworkDriver of Neutron."""

    name: Final = "neutron"

    def __init__(
        self, settings: Settings, *, cloud: Cloud | None = None, owns_cloud: bool = False
    ) -> None:
        self._cloud = cloud or Cloud(settings)
        self._owns_cloud = owns_cloud or cloud is None
        self._extensions: frozenset[str] | None = None

    def place(self, facts: Json) -> str:
        """The project, whose id no other cloud has."""
        return f"{self.name} of project {self._cloud.project_id}"

    # --- the service -----------------------------------------------------------------------------

    def check(self) -> None:
        """See that Neutron answers, and that a port could be bound."""
        try:
            self._read("list Neutron's extensions", self._aliases)
        except HostUnusable:
            raise
        except BuildflowError as error:
            raise HostUnusable(f"Neutron cannot be used: {error.summary}") from None
        self._check_rights()

    def inventory(self) -> Iterator[Thing]:
        """The project's ports that carry a key of ours, the user's own too, and their bindings."""
        project = self._cloud.project_id
        ports = self._read(
            "list ports", lambda: list(self._cloud.privileged.network.ports(project_id=project))
        )
        for port in ports:
            key = _key_of(port)
            if key is None:
                continue
            detail = {
                "name": port.name,
                "mac": port.mac_address,
                "host": port.binding_host_id or None,
                "status": port.status,
                "preexisting": not _was_made_by_us(port, key),
            }
            yield Thing("port", port.id, key=key, build=port.device_id or None, detail=detail)
            if port.binding_host_id:
                yield Thing("binding", port.id, build=port.device_id or None, detail=detail)

    def close(self) -> None:
        """Close the cloud's connections, unless they are shared."""
        if self._owns_cloud:
            self._cloud.close()

    # --- before anything is made -----------------------------------------------------------------

    def validate(self, request: PortRequest) -> None:
        """Refuse what cannot work: see the protocol. Raises HostUnusable where binding would be
        forbidden to these credentials.
        """
        if request.port_id is not None:
            self._validate_own_port(request, request.port_id)
        else:
            self._validate_network(request)
        self._check_rights()

    def _validate_own_port(self, request: PortRequest, port_id: str) -> None:
        # as the user: who may not see a port may not give it to a machine either
        port = self._find("port", port_id, self._cloud.connection.network.find_port)
        if request.mac and request.mac.lower() != port.mac_address.lower():
            raise BadInput(f"port {port_id} has the MAC {port.mac_address}, not {request.mac}")
        addresses = [fixed["ip_address"] for fixed in port.fixed_ips or []]
        if request.fixed_ip and request.fixed_ip not in addresses:
            has = ", ".join(addresses) or "none"
            raise BadInput(f"port {port_id} has not the address {request.fixed_ip}; it has {has}")
        if port.device_id or port.device_owner:
            raise Conflict(
                f"port {port_id} is in use by {port.device_owner or 'a device'}"
                f" {port.device_id}".rstrip()
            )
        if port.binding_vnic_type not in (None, *vif.VNIC_TYPES):
            raise BadInput(
                f"port {port_id} has vnic_type {port.binding_vnic_type!r}; ports that can be"
                f" plugged here are {', '.join(sorted(vif.VNIC_TYPES))}"
            )

    def _validate_network(self, request: PortRequest) -> None:
        network = self._network(request)
        mac = request.mac
        if mac is not None and (not _MAC.fullmatch(mac) or int(mac[:2], 16) & 1):
            raise BadInput(f"{mac} is no MAC address of a NIC; it looks like 52:54:00:12:34:56")
        ports = self._cloud.privileged.network.ports
        if request.fixed_ip is not None:
            self._validate_address(network, request.fixed_ip)
        if mac is not None and self._read(
            "look for the MAC", lambda: list(ports(network_id=network.id, mac_address=mac))
        ):
            raise Conflict(f"MAC {mac} is in use on network {network.name}")

    def _validate_address(self, network: Any, address: str) -> None:
        try:
            wanted = ipaddress.ip_address(address)
        except ValueError:
            raise BadInput(f"{address} is not an IP address") from None
        cidrs = [subnet.cidr for subnet in self._subnets(network.id)]
        if not any(wanted in ipaddress.ip_network(cidr) for cidr in cidrs):
            has = ", ".join(cidrs) or "no subnet"
            raise BadInput(f"{address} is not on network {network.name}, which has {has}")
        taken = self._read(
            "look for the address",
            lambda: list(
                self._cloud.privileged.network.ports(
                    network_id=network.id, fixed_ips=f"ip_address={wanted}"
                )
            ),
        )
        if taken:
            raise Conflict(f"{address} is in use on network {network.name}")

    def _check_rights(self) -> None:
        privileged = self._cloud.privileged
        if not self._cloud.roles(privileged) & BINDING_ROLES:
            raise HostUnusable(
                "these credentials may not bind a port to a host (Neutron wants the role admin or"
                " service): name a cloud of clouds.yaml that may with --os-service-cloud"
            )

    # --- ports -----------------------------------------------------------------------------------

    def find_port(self, key: str, request: PortRequest) -> Json | None:
        """The entry of the port that this key made or claimed."""
        port = self._with_key(key, request.port_id)
        return None if port is None else self._entry(port, preexisting=request.port_id is not None)

    def create_port(self, key: str, instance: str, hostname: str, request: PortRequest) -> Json:
        """Make a port, unless there is one with this key, or claim the user's own.

        Raises Conflict for a taken address or MAC, Exhausted for a full subnet or a used-up quota.
        """
        if request.port_id is not None:
            return self._claim(key, instance, request.port_id)
        found = self.find_port(key, request)
        if found is not None:
            return found
        network = self._network(request)
        wanted: Json = {
            "network_id": network.id,
            "name": f"buildflow-{hostname}",
            "description": MADE + key,
            "device_id": instance,
            "device_owner": OWNER + key,
        }
        if request.fixed_ip:
            wanted["fixed_ips"] = [{"ip_address": request.fixed_ip}]
        if request.mac:
            wanted["mac_address"] = request.mac
        aliases = self._read("list Neutron's extensions", self._aliases)
        if "dns-integration" in aliases:
            wanted["dns_name"] = hostname
        port = ask(
            "network",
            f"create a port on network {network.name}",
            lambda: self._cloud.connection.network.create_port(**wanted),
        )
        return self._entry(port, preexisting=False, network=network)

    def delete_port(self, key: str, port: Json) -> None:
        """Delete the port, and each other that this key made; let go of the user's own."""
        if port.get("preexisting"):
            self._release(key, port["id"])
            return
        ids = {str(found.id) for found in self._all_with_key(key)}
        if port.get("id"):
            ids.add(str(port["id"]))
        for each in sorted(ids):
            self._delete(each)

    # --- bindings --------------------------------------------------------------------------------

    def bind_port(self, key: str, port: Json, host: str) -> Json:
        """Bind it. On binding_failed, or a vif_type that cannot be plugged, the binding is taken
        back before the error: BindingFailed, of which another host may know nothing, or Refused.
        """
        bound = self._set_host(port["id"], host)
        vif_type = str(bound.binding_vif_type or vif.UNBOUND)
        if vif_type not in (vif.BINDING_FAILED, vif.UNBOUND):
            try:
                vif.supported(vif_type, dict(bound.binding_vif_details or {}), port["id"])
            except Refused:
                self.unbind_port(key, port, host)
                raise
            return with_binding(port, bound)
        self.unbind_port(key, port, host)
        raise BindingFailed(
            f"Neutron cannot bind port {port['id']} to host {host} ({vif_type}): no mechanism"
            " driver knows the host, or its agent is down",
            driver="network",
        )

    def find_binding(self, key: str, port: Json, host: str) -> Json | None:
        """The entry when the port is bound to `host` in a way that can be plugged."""
        found = self._get(port["id"])
        if found is None or found.binding_host_id != host:
            return None
        if vif.find(str(found.binding_vif_type), dict(found.binding_vif_details or {})) is None:
            return None
        return with_binding(port, found)

    def unbind_port(self, key: str, port: Json, host: str) -> None:
        """Take the binding to `host` back; another host's is left alone."""
        found = self._get(port["id"])
        if found is None or found.binding_host_id != host:
            return
        try:
            left = self._set_host(port["id"], None)
        except NotFound:
            return
        if left.binding_host_id:
            raise DriverError(
                f"port {port['id']} is still bound to {left.binding_host_id}", driver="network"
            )

    def port_active(self, port: Json) -> bool:
        """Whether Neutron says ACTIVE. Raises NotFound when the port is gone."""
        found = self._get(port["id"])
        if found is None:
            raise NotFound(f"port {port['id']} is not there any more")
        return bool(found.status == "ACTIVE")

    # --- inside ----------------------------------------------------------------------------------

    def _delete(self, port_id: str) -> None:
        network = self._cloud.privileged.network
        try:
            ask(
                "network",
                f"delete port {port_id}",
                lambda: network.delete_port(port_id, ignore_missing=False),
                idempotent=True,
            )
        except NotFound:
            return
        if self._get(port_id) is not None:
            raise DriverError(f"port {port_id} is still there", driver="network")

    def _claim(self, key: str, instance: str, port_id: str) -> Json:
        port = self._get(port_id)
        if port is None:
            raise NotFound(f"port {port_id} is not there any more")
        if (port.device_id or port.device_owner) and _key_of(port) != key:
            raise Conflict(f"port {port_id} is in use by {port.device_owner} {port.device_id}")
        network = self._cloud.connection.network
        claimed = ask(
            "network",
            f"claim port {port_id}",
            # If-Match: of two that read it unclaimed, one is refused
            lambda: network.update_port(
                port_id,
                if_revision=port.revision_number,
                device_id=instance,
                device_owner=OWNER + key,
            ),
            readings={412: Conflict},
        )
        return self._entry(claimed, preexisting=True)

    def _release(self, key: str, port_id: str) -> None:
        """Nova's unbinding of a pre-existing port (_unbind_ports), unless another has it by now."""
        port = self._get(port_id)
        if port is None or _key_of(port) != key:
            return
        ask(
            "network",
            f"let go of port {port_id}",
            lambda: self._cloud.privileged.network.update_port(
                port_id,
                if_revision=port.revision_number,
                device_id="",
                device_owner="",
                binding_host_id=None,
            ),
            idempotent=True,
            readings={412: DriverError},  # changed meanwhile: the undo looks again
        )

    def _with_key(self, key: str, port_id: str | None) -> Any:
        if port_id is not None:
            port = self._get(port_id)
            return port if port is not None and _key_of(port) == key else None
        found = self._all_with_key(key)
        return found[0] if found else None

    def _all_with_key(self, key: str) -> list[Any]:
        """The ports that this key made, oldest first: never one of the user's that it claimed."""
        found = self._read(
            "look for our port",
            lambda: list(self._cloud.privileged.network.ports(device_owner=OWNER + key)),
        )
        made = [port for port in found if _was_made_by_us(port, key)]
        return sorted(made, key=lambda port: (port.created_at, port.id))

    def _entry(self, port: Any, *, preexisting: bool, network: Any = None) -> Json:
        if network is None:
            network = self._find(
                "network", port.network_id, self._cloud.connection.network.find_network
            )
        return entry(port, network, self._subnets(port.network_id), preexisting=preexisting)

    def _set_host(self, port_id: str, host: str | None) -> Any:
        return ask(
            "network",
            f"bind port {port_id} to {host}" if host else f"unbind port {port_id}",
            lambda: self._cloud.privileged.network.update_port(port_id, binding_host_id=host),
            idempotent=True,
        )

    def _get(self, port_id: str) -> Any:
        """The port with its binding, which only the privileged see; None when it is not there."""
        network = self._cloud.privileged.network
        try:
            return self._read(f"read port {port_id}", lambda: network.get_port(port_id))
        except NotFound:
            return None

    def _network(self, request: PortRequest) -> Any:
        """The network that was named, else the only one there is (nova/network/neutron.py:
        _get_available_networks).
        """
        network = self._cloud.connection.network
        if request.network:
            named = self._read(
                "find the network", lambda: list(network.networks(name=request.network))
            )
            if len(named) == 1:
                return named[0]
            return self._find("network", request.network, network.find_network)
        found = self._read("list networks", lambda: list(network.networks()))
        usable = [each for each in found if not each.is_router_external]
        if len(usable) == 1:
            return usable[0]
        names = ", ".join(sorted(each.name or each.id for each in usable)) or "none"
        raise BadInput(f"name a network, for there is not exactly one; there are: {names}")

    def _subnets(self, network_id: str) -> list[Any]:
        network = self._cloud.connection.network
        return list(
            self._read("list subnets", lambda: list(network.subnets(network_id=network_id)))
        )

    def _find(self, kind: str, name_or_id: str, finder: Any) -> Any:
        def find() -> Any:
            try:
                return finder(name_or_id, ignore_missing=False)
            except sdk_exceptions.NotFoundException:
                raise NotFound(
                    f"no {kind} {name_or_id}; `openstack {kind} list` shows what there is"
                ) from None
            except sdk_exceptions.DuplicateResource:
                raise BadInput(
                    f"more than one {kind} is called {name_or_id}; say which by id"
                ) from None

        return self._read(f"find {kind} {name_or_id}", find)

    def _read(self, doing: str, call: Any) -> Any:
        return ask("network", doing, call, idempotent=True)

    def _aliases(self) -> frozenset[str]:
        if self._extensions is None:
            extensions = self._cloud.connection.network.extensions()
            self._extensions = frozenset(extension.alias for extension in extensions)
        return self._extensions


def _key_of(port: Any) -> str | None:
    owner = port.device_owner or ""
    return owner.removeprefix(OWNER) if owner.startswith(OWNER) else None


def _was_made_by_us(port: Any, key: str) -> bool:
    return bool((port.description or "") == MADE + key)
