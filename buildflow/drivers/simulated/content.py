"""What is in a simulated world before anything is built: networks, images, volumes, own ports."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final

from buildflow.drivers.macs import mac_from_key
from buildflow.drivers.protocols import Json
from buildflow.drivers.simulated.names import derive
from buildflow.errors import NotFound

if TYPE_CHECKING:
    from buildflow.drivers.simulated.change import Change

DEFAULT_NETWORK: Final = "default"
USER_NETWORK: Final = "user"


class Content(ABC):
    """The part of a world's interface that puts things into it. None of it is an operation."""

    @abstractmethod
    def change(self, name: str, key: str | None = None, id: str | None = None) -> Change:
        """See world.py."""

    def add_network(
        self,
        name: str,
        cidr: str,
        *,
        vif_type: str = "tap",
        bridge: str | None = None,
        dns: tuple[str, ...] = (),
    ) -> str:
        """A network whose ports have `vif_type` (tap, bridge, ovs, network); returns its id.

        A tap is plugged by the driver and is then a thing of its own on the host; the others are
        plugged by the hypervisor when a guest starts.
        """
        with self.change("") as change:
            return _put_network(change, name, cidr, vif_type, bridge, dns)

    def add_image(
        self,
        name: str,
        *,
        format: str = "qcow2",
        size: int = 16 << 20,
        virtual_size: int = 1 << 30,
        flaw: str | None = None,
        breaks: bool = False,
    ) -> str:
        """An image, sizes in bytes; returns its id. `flaw` is what makes it unsafe (a backing file,
        truncated), `breaks` makes each download of it fail.
        """
        with self.change("") as change:
            return _put_image(change, name, format, size, virtual_size, flaw, breaks)

    def add_volume(
        self,
        name: str | None = None,
        *,
        size: int = 1,
        bootable: bool = False,
        multiattach: bool = False,
        status: str = "available",
        id: str | None = None,
    ) -> str:
        """A volume of the user's, size in GiB; returns its id."""
        with self.change("") as change:
            number = str(len(change.state.tables["volumes"]))
            volume_id = id or derive("user-volume", name or "", number)
            change.put(
                "volumes",
                volume_id,
                new_volume(
                    volume_id, name=name or f"volume-{number}", size=size, status=status,
                    bootable=bootable, multiattach=multiattach,
                ),
            )  # fmt: skip
            return volume_id

    def add_port(self, network: str = DEFAULT_NETWORK, *, fixed_ip: str | None = None) -> str:
        """A port of the user's own, which a build may use and never deletes; returns its id."""
        with self.change("") as change:
            state = change.state
            found = network_named(state.tables["networks"], network)
            if found is None:
                raise NotFound(f"no network {network}")
            port_id = derive("user-port", network, str(len(state.tables["ports"])))
            change.put(
                "ports",
                port_id,
                {
                    "id": port_id, "key": None, "instance": None, "hostname": "",
                    "network": found["id"], "mac": mac_from_key(port_id), "ip": fixed_ip,
                    "host": None, "bound_at": None, "binding_key": None, "own": True,
                },
            )  # fmt: skip
            return port_id


def default_content(change: Change) -> None:
    """What every new world has."""
    _put_network(change, DEFAULT_NETWORK, "10.20.0.0/16", "tap", "br-default", ("10.20.0.1",))
    _put_network(change, USER_NETWORK, "10.0.2.0/24", "user", None, ("10.0.2.3",))
    for name in ("cirros", "tiny"):
        _put_image(change, name, "qcow2", 16 << 20, 1 << 30, None, False)


def network_named(networks: dict[str, Json], name: str | None) -> Json | None:
    """The network with this id or name; the default one when none is named."""
    found = networks.get(name or "")
    if found is None:
        wanted = name or DEFAULT_NETWORK
        found = next((each for each in networks.values() if each["name"] == wanted), None)
    return found


def new_volume(id: str, **facts: Any) -> Json:
    """A volume's record."""
    return {
        "id": id, "key": None, "instance": None, "name": None, "size": 1, "status": "available",
        "ready_at": None, "becomes": None, "bootable": False, "multiattach": False,
        "attachments": {}, **facts,
    }  # fmt: skip


def _put_network(
    change: Change, name: str, cidr: str, vif_type: str, bridge: str | None, dns: tuple[str, ...]
) -> str:
    network_id = derive("network", name)
    if bridge is None and vif_type in ("bridge", "ovs"):
        bridge = f"br-{name}"
    change.put(
        "networks",
        network_id,
        {
            "id": network_id, "name": name, "cidr": cidr, "type": vif_type, "bridge": bridge,
            "dns": list(dns),
        },
    )  # fmt: skip
    return network_id


def _put_image(
    change: Change,
    name: str,
    format: str,
    size: int,
    virtual_size: int,
    flaw: str | None,
    breaks: bool,
) -> str:
    image_id = derive("image", name)
    change.put(
        "images",
        image_id,
        {
            "id": image_id, "name": name, "format": format, "size": size,
            "virtual_size": virtual_size, "flaw": flaw, "breaks": breaks,
        },
    )  # fmt: skip
    return image_id
