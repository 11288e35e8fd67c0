"""What the engine and the flows ask of the outside world. They know these protocols and no driver.

Rules that every driver keeps, and that tests/drivers/test_contract.py checks on each of them:

* Each effect has three calls: `find_*` (None when it is not there), `create_*`, `delete_*`. All
  take the effect's `key`, a uuid known before the first call, which becomes the effect's own id or
  tag, so that after a crash it is found again by the key alone.
* `create_*` is only called after `find_*` returned None, but may race with a lost answer: when the
  key exists after all, return what is there.
* `delete_*` returns only when the thing is seen to be gone; one that is not there is success.
* Errors are those of buildflow.errors: BadInput/NotFound/Conflict for what the caller asked,
  DriverError (Refused, Exhausted, GuestDied, DeadlineExceeded) for the world, with
  `outcome_unknown=True` when an answer was lost. Never a bare libvirtError or HTTP exception.
* What is returned survives JSON unchanged and holds no secret.
* Calls may come from several threads at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, runtime_checkable

Json = dict[str, Any]


# --- what drivers and flows hand each other ------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Image:
    """A disk image on this host that has been inspected and is safe to give to QEMU.

    `format` is raw or qcow2, as found in its bytes (never by its name); sizes in bytes.
    """

    path: str
    format: str
    virtual_size: int
    id: str | None = None

    def to_json(self) -> Json:
        """As a step's result."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class PortRequest:
    """One NIC that a build asks for.

    `network` is a network's name or id, `user` (user-mode), or None: then `port_id` names a port of
    the user's own, which is bound and unbound but never deleted; with neither it is the driver's
    default network (user-mode; `default` of libvirt; the one network that a tenant sees).
    """

    network: str | None
    fixed_ip: str | None = None
    mac: str | None = None
    port_id: str | None = None


@dataclass(frozen=True, slots=True)
class Demand:
    """The room that a build needs on its host. Memory in MiB, disk in GiB.

    Groups keep machines together or apart.
    """

    vcpus: int
    memory_mib: int
    disk_gib: int = 0
    affinity_group: str | None = None
    anti_affinity_group: str | None = None


@dataclass(frozen=True, slots=True)
class GuestSpec:
    """All that a hypervisor needs to define a guest. Holds no secret.

    memory in MiB. `root_disk` is the path of the disk made from the image, None on a boot from
    volume. `network_info` and `block_device_info` are in the documented shapes (docs/data.md).
    `secrets` maps a volume's id to the key of its secret effect. `metadata` goes into the domain's
    metadata element in our namespace.
    """

    uuid: str
    name: str
    memory_mib: int
    vcpus: int
    virt_type: str
    directory: str
    root_disk: str | None
    root_disk_format: str
    network_info: Sequence[Json]
    block_device_info: Json
    secrets: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain as the hypervisor reports it now. `power_state` is one of states.power.

    `persistent` tells whether it is defined; `active` whether a QEMU stands behind it;
    `build` is the id in its metadata, None when it is not ours.
    """

    uuid: str
    name: str
    power_state: int
    active: bool
    persistent: bool = True
    build: str | None = None


@dataclass(frozen=True, slots=True)
class Thing:
    """One entry of an inventory: something that exists outside, ours or not.

    `kind` is the effect's kind (flows/effects.py), `id` what the outside calls it, `key` our key
    and `build` the build that made it when the thing carries them, else None.
    """

    kind: str
    id: str
    key: str | None = None
    build: str | None = None
    detail: Json = field(default_factory=dict)


# A wait inside a driver calls this often (at least each 0.25 s). It raises StopBuild when the build
# is to stop, and sleeps for the seconds given on the build's own clock.
Pause = Callable[[float], None]


# --- the four drivers -----------------------------------------------------------------------------


@runtime_checkable
class Driver(Protocol):
    """What all drivers have. One that may speak to several clouds or hypervisors also has
    `place(facts)`: where the effect with these facts is, in words that tell those apart and are the
    same in every process. Else its name will do. One that keeps what it makes in files also has
    `folder(kind, facts)`: the folder of this machine that holds the effect of this kind, as a
    string; None for one that no file holds.
    """

    @property
    def name(self) -> str:
        """What configuration calls it."""

    def check(self) -> None:
        """See that the service can be used at all. Raises HostUnusable, with the cure."""

    def inventory(self) -> Iterable[Thing]:
        """Everything of this driver's kinds that exists now and may be ours."""

    def close(self) -> None:
        """Let go of connections; the driver is not used again."""


@runtime_checkable
class ComputeDriver(Driver, Protocol):
    """A hypervisor and the instance files on its host (nova/virt/driver.py: ComputeDriver)."""

    def hosts(self) -> Sequence[str]:
        """The names of the hosts that this driver serves; the first is the default."""

    def validate(self, spec: GuestSpec) -> None:
        """Refuse what can never start here (memory, vcpus, name in use by a domain that is not
        ours). Raises BadInput, Conflict or Exhausted. Called before anything is made.
        """

    def virt_type(self, wanted: str | None) -> str:
        """`kvm` only when a boot probe has passed on this host (kept per host), else `qemu`;
        `wanted` overrides. Raises BadInput for a type that the host does not have.
        """

    # the instance's directory: an effect of kind `directory`, key = its name under instances/
    def find_directory(self, key: str) -> str | None:
        """Path of the instance directory, None when there is none."""

    def create_directory(self, key: str) -> str:
        """Make it, for QEMU to write its console log in; returns the path."""

    def delete_directory(self, key: str) -> None:
        """Remove it with all that is in it."""

    # the root disk: kind `disk`
    def find_disk(self, key: str, directory: str) -> str | None:
        """Path of the complete disk; a half-made one is not found."""

    def create_disk(self, key: str, directory: str, image: Image, size: int | None) -> str:
        """A qcow2 overlay on `image`, of `size` bytes when given; atomic: complete or not there."""

    def delete_disk(self, key: str, directory: str) -> None:
        """Remove it, half-made remains included."""

    # secrets that QEMU must read: kind `secret`
    def find_secret(self, key: str) -> bool:
        """Whether the secret is there."""

    def create_secret(self, key: str, username: str, password: str) -> None:
        """Ephemeral and private libvirt secret; in embed mode a 0600 file."""

    def delete_secret(self, key: str) -> None:
        """Remove it."""

    # a volume made visible to this host: kind `connection`
    def connector(self) -> Json:
        """Connector properties for Cinder (os_brick get_connector_properties); with `host`."""

    def connect_volume(self, connection_info: Json, secret: Callable[[], Json]) -> Json:
        """Make the volume usable by QEMU here; returns what to add to connection_info['data']
        (`device_path` for a local device, empty for QEMU's own initiator). `secret` asks the
        volume driver for the full connection_info, passwords included.
        """

    def find_connection(self, connection_info: Json) -> bool:
        """Whether this host has the volume open as a device now."""

    def disconnect_volume(self, connection_info: Json) -> None:
        """Flush and remove the device."""

    # a port made visible on this host: kind `vif`
    def find_vif(self, vif: Json) -> bool:
        """Whether the VIF is plugged (a tap or an OVS port that we made exists)."""

    def plug_vif(self, vif: Json) -> None:
        """Plug one entry of network_info; nothing to do where the hypervisor plugs it itself.
        Raises Refused for a vif type that is not supported.
        """

    def unplug_vif(self, vif: Json) -> None:
        """Unplug it."""

    def to_xml(self, spec: GuestSpec) -> str:
        """The domain's XML. Pure: touches nothing."""

    # the domain: kind `domain` (defined) and kind `guest` (running)
    def find_domain(self, uuid: str) -> Domain | None:
        """The domain as it is now, None when there is none."""

    def define_domain(self, uuid: str, xml: str) -> Domain:
        """Define it, validated by the hypervisor."""

    def undefine_domain(self, uuid: str) -> None:
        """Undefine it, with managed save and NVRAM. Raises Refused while it is active."""

    def start_domain(self, uuid: str) -> Domain:
        """Start it; returns it RUNNING. A failed start leaves no QEMU, tap or network port."""

    def destroy_domain(self, uuid: str) -> None:
        """Stop it hard, and return only when its QEMU is seen to be gone."""

    def console(self, uuid: str, offset: int = 0) -> tuple[bytes, int]:
        """Console output from byte `offset`, and the offset to go on from."""

    def addresses(self, uuid: str, network_info: Sequence[Json], pause: Pause) -> list[str]:
        """Addresses that the guest has now and that were not there before it started."""


@runtime_checkable
class NetworkDriver(Driver, Protocol):
    """Ports. Kinds `port` and, where the service has one, `binding` (nova/network/neutron.py)."""

    def validate(self, request: PortRequest) -> None:
        """Refuse an unknown network, a missing bridge, a bad or taken address: before anything is
        made. Raises NotFound, Conflict, BadInput.
        """

    def find_port(self, key: str, request: PortRequest) -> Json | None:
        """The network_info entry of the port with this key."""

    def create_port(self, key: str, instance: str, hostname: str, request: PortRequest) -> Json:
        """A port with its own MAC and, where the network has addresses, a fixed one.

        Returns a network_info entry: `id`, `address` (the MAC), `type` (user, bridge, ovs, tap,
        network), `network` {`id`, `label`, `bridge`, `subnets` [{`cidr`, `gateway`, `dns`, `ips`
        [{`address`, `type`: fixed}]}]}, `details`, `devname`, `active`, `preexisting`.
        """

    def delete_port(self, key: str, port: Json) -> None:
        """Delete the port; a user's own is only let go."""

    def bind_port(self, key: str, port: Json, host: str) -> Json:
        """Bind the port to `host`; returns the entry as bound. Raises Refused on binding_failed."""

    def find_binding(self, key: str, port: Json, host: str) -> Json | None:
        """The entry when it is bound to `host`, else None."""

    def unbind_port(self, key: str, port: Json, host: str) -> None:
        """Take the binding back."""

    def port_active(self, port: Json) -> bool:
        """Whether the service says that the port is ACTIVE; True where it has no such notion."""


@runtime_checkable
class VolumeDriver(Driver, Protocol):
    """Volumes. Kinds `volume` (one that we made), `reservation`, `attachment`, `attached`.

    The documented protocol: reserve, initialize_connection, attach; undone by unreserve,
    terminate_connection, detach. With Cinder's attachments API the same three are create, update
    and complete, and one delete undoes them all: the first undo deletes, the others find nothing.
    """

    def validate(self, volume_id: str, instance: str) -> Json:
        """The volume when it can be attached: `id`, `name`, `size` (GiB), `status`, `bootable`,
        `multiattach`. Raises NotFound, Conflict. Also the place to find out that a rollback
        could not detach (service token), before anything is attached: raises HostUnusable.
        """

    def find_volume(self, key: str) -> Json | None:
        """The volume that was made with this key (it is in its metadata)."""

    def create_volume(self, key: str, instance: str, spec: Json) -> Json:
        """Ask for a volume: `size` GiB, and one of `image_id`, `snapshot_id`, or blank."""

    def volume_status(self, volume_id: str) -> str:
        """creating, downloading, available, error, ... ; `deleted` when it is not there."""

    def delete_volume(self, key: str, volume_id: str) -> None:
        """Delete a volume and see it gone."""

    def find_reservation(self, key: str, volume_id: str, instance: str) -> str | None:
        """The attachment id (old protocol: the volume's id) when it is reserved for `instance`."""

    def reserve(self, key: str, volume_id: str, instance: str) -> str:
        """attachments.create, or os-reserve. Returns what `find_reservation` returns.

        Raises Conflict when another has it; Busy when it can be shared, and another is just taking
        or leaving it.
        """

    def unreserve(self, key: str, volume_id: str, instance: str) -> None:
        """attachments.delete, or os-unreserve."""

    def find_attachment(self, attachment_id: str, volume_id: str, connector: Json) -> Json | None:
        """connection_info, without secrets, when the backend exports it to `connector`."""

    def initialize_connection(
        self, attachment_id: str, volume_id: str, connector: Json, mountpoint: str
    ) -> Json:
        """attachments.update, or os-initialize_connection. Returns connection_info, nested as
        documented (`driver_volume_type`, `serial`, `data`), without secrets.
        """

    def connection_secrets(self, attachment_id: str, volume_id: str, connector: Json) -> Json:
        """The full connection_info, passwords included, asked for again. Never store or log it."""

    def terminate_connection(self, attachment_id: str, volume_id: str, connector: Json) -> None:
        """Take the export back."""

    def find_attached(self, attachment_id: str, volume_id: str, instance: str) -> bool:
        """Whether the service says in-use by `instance`."""

    def attach(self, attachment_id: str, volume_id: str, instance: str, mountpoint: str) -> None:
        """attachments.complete, or os-attach."""

    def detach(self, attachment_id: str, volume_id: str, instance: str) -> None:
        """Mark it detached; with the attachments API this deletes the attachment."""


@runtime_checkable
class ImageDriver(Driver, Protocol):
    """Where images come from (nova/image/glance.py)."""

    def validate(self, image: str) -> Json:
        """See that the image is there and of a kind that is safe, without fetching it: `id`,
        `name`, `size`. Raises NotFound, BadInput (backing file, data file, outside extent,
        truncated, not what its name says).
        """

    def fetch(self, image: str, pause: Pause) -> Image:
        """The image as an inspected local file; a service's image is streamed to a shared cache,
        its checksum verified. A broken download leaves no half file. Not an effect: the cache
        is shared by builds and stays.
        """


class CapacityDriver(Protocol):
    """Room on hosts, where several share it. Kind `claim` (nova/compute/claims.py)."""

    def shares(self, host: str) -> bool:
        """Whether room on this host must be claimed."""

    def place(self, demand: Demand, among: Sequence[str], tried: Sequence[str], build: str) -> str:
        """The host with the most room of those not tried yet, kept for `build` until it claims it.

        Raises NoRoom.
        """

    def is_conducted(self, build: str) -> bool:
        """Whether conductors know of this build, so that it may wait for room."""

    def inventory(self) -> Iterable[Thing]:
        """Every claim."""

    def find(self, key: str) -> Json | None:
        """The claim with this key."""

    def claim(
        self, key: str, build: str, host: str, demand: Demand, epoch: int | None = None
    ) -> Json:
        """Take room on a host. Raises NoRoom; StaleOwner when the build's epoch is another."""

    def release(self, key: str) -> None:
        """Give it back."""
