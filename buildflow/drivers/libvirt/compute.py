"""The compute driver: instance files, secrets, volumes, VIFs and domains of one hypervisor.

A table of contents more than a program: each method says what its effect is and hands it to the
module that knows it. Follows nova/virt/libvirt/driver.py.
"""

from __future__ import annotations

import platform
import shutil
import socket
import stat
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from buildflow.config import Settings
from buildflow.drivers.files import overlay, qcow2
from buildflow.drivers.files.instance_directory import InstanceDirectories
from buildflow.drivers.libvirt import (
    addresses,
    capacity,
    embedded_root,
    interface_xml,
    inventory,
    network_ports,
    short_path,
)
from buildflow.drivers.libvirt.connection import Connection
from buildflow.drivers.libvirt.console import Consoles
from buildflow.drivers.libvirt.domain_xml import HostShape, check_name, domain_xml
from buildflow.drivers.libvirt.domains import Domains
from buildflow.drivers.libvirt.qemu_user import qemu_user
from buildflow.drivers.libvirt.secrets import secret_store
from buildflow.drivers.libvirt.uri import Kind
from buildflow.drivers.libvirt.vifs import Vifs
from buildflow.drivers.libvirt.virt_type import VirtTypes
from buildflow.drivers.libvirt.volumes import Volumes, initiator_of
from buildflow.drivers.protocols import (
    Domain,
    GuestSpec,
    Image,
    Json,
    Pause,
    Thing,
)
from buildflow.errors import Conflict, HostUnusable, Refused

_AGENT_SOCKET: Final = "agent.sock"
_SOCKET_PATH_LIMIT: Final = 107


class LibvirtDriver:
    """ComputeDriver for every libvirt QEMU URI. `settings.home` must be reachable by QEMU.

    `connection` is the way to the hypervisor, `directories` where instances have their files.
    """

    name = "libvirt"

    def __init__(self, settings: Settings, connection: Connection) -> None:
        target = connection.target
        user = qemu_user(target)
        directories = InstanceDirectories(
            settings.instances_path,
            owner=(user.uid, user.gid) if user is not None and target.kind is Kind.EMBED else None,
            shared=target.privileged,
        )
        self._settings = settings
        self._host = str(settings.extra.get("host") or socket.gethostname())
        self.connection = connection
        self.directories = directories
        self._domains = Domains(connection)
        self._consoles = Consoles(connection)
        self._secrets = secret_store(connection, settings.home / "secrets", user)
        self._volumes = Volumes(settings, self._host, directories.owner, user)
        self._vifs = Vifs()
        self._virt_types = VirtTypes(connection, settings, directories.owner, self.to_xml)
        self._qemu_user = user

    # --- the driver -------------------------------------------------------------------------------

    def place(self, facts: Json) -> str:
        """The hypervisor."""
        return self.connection.place

    def folder(self, kind: str, facts: Json) -> str | None:
        """That of instance directories, and of secrets where they are files."""
        if kind == "directory":
            return str(self.directories.root)
        return self._secrets.files if kind == "secret" else None

    def check(self) -> None:
        """Open the connection and look for qemu-img and a way in for QEMU. Raises HostUnusable."""
        if shutil.which("qemu-img") is None:
            raise HostUnusable("qemu-img is not installed: apt-get install qemu-utils")
        self._refuse_closed(self._settings.instances_path)
        self.connection.open()

    def inventory(self) -> Iterable[Thing]:
        """Domains, QEMU processes, directories, disks, secrets, taps and leaked network ports."""
        domains = self._domains.all()
        yield from inventory.domains(domains)
        target = self.connection.target
        if target.local:
            below = None if target.root is None else embedded_root.reached_by(target.root)
            yield from inventory.processes(domains, below)
        yield from inventory.files(self.directories)
        yield from self._secrets.inventory()
        yield from self._vifs.inventory()
        if self.connection.target.has_networks:
            with self.connection.calling("list the network ports") as conn:
                yield from network_ports.things(conn)

    def close(self) -> None:
        """Close the connection. Embedded: the root stays held until this process exits."""
        self.connection.close()

    def hosts(self) -> Sequence[str]:
        """One hypervisor is one host: this one, or settings.extra["host"]."""
        return (self._host,)

    def validate(self, spec: GuestSpec) -> None:
        """Refuse a bad name, one in use by another domain, memory or vcpus that this host has not,
        and disks, NICs or paths that cannot work. Raises BadInput, Conflict, Exhausted, Refused.
        """
        check_name(spec.name)
        capacity.check(self.connection, spec)
        self._virt_types.choose(spec.virt_type)
        self._refuse_closed(self._settings.instances_path)
        for vif in spec.network_info:
            interface_xml.check_type(vif)
        found = self._domains.named(spec.name)
        if found is not None and found.uuid != spec.uuid:
            owner = f"build {found.build}" if found.build else "a domain that is not ours"
            raise Conflict(f"the name {spec.name} is taken by {owner}")

    def virt_type(self, wanted: str | None) -> str:
        """`wanted` when the host has it, else `kvm` when its boot probe has passed, else `qemu`."""
        return self._virt_types.choose(wanted)

    # --- files ------------------------------------------------------------------------------------

    def find_directory(self, key: str) -> str | None:
        """Path of the instance directory, None when there is none."""
        path = self.directories.find(key)
        return None if path is None else str(path)

    def create_directory(self, key: str) -> str:
        """Make it, with an empty console log that QEMU or virtlogd can write."""
        path = self.directories.create(key)
        socket_path = path / _AGENT_SOCKET
        if self._needs_agent_socket() and len(str(socket_path)) > _SOCKET_PATH_LIMIT:
            short_path.ensure(path)
        return str(path)

    def delete_directory(self, key: str) -> None:
        """Remove it with all that is in it."""
        path = self.directories.find(key)
        if path is not None:
            short_path.forget(path)
        self.directories.delete(key)

    def find_disk(self, key: str, directory: str) -> str | None:
        """Path of the complete disk, None when there is none."""
        path = overlay.find(key, Path(directory))
        return None if path is None else str(path)

    def create_disk(self, key: str, directory: str, image: Image, size: int | None) -> str:
        """A qcow2 overlay on `image`, `size` bytes large when given."""
        if not self.connection.target.local:
            raise Refused(
                "a remote hypervisor cannot open files of this host: boot from a volume instead",
                driver="compute",
            )
        self._refuse_closed(Path(image.path))
        owner = self.directories.owner
        return str(overlay.create(key, Path(directory), image, size, owner))

    def delete_disk(self, key: str, directory: str) -> None:
        """Remove it, half-made remains included."""
        overlay.delete(key, Path(directory))

    # --- secrets ----------------------------------------------------------------------------------

    def find_secret(self, key: str) -> bool:
        """Whether the secret is there."""
        return self._secrets.find(key)

    def create_secret(self, key: str, username: str, password: str) -> None:
        """Give QEMU a password: a libvirt secret, or a 0600 file in embedded mode."""
        self._secrets.create(key, username, password)

    def delete_secret(self, key: str) -> None:
        """Remove it."""
        self._secrets.delete(key)

    # --- volumes ----------------------------------------------------------------------------------

    def connector(self) -> Json:
        """What Cinder must know of this host to export a volume to it."""
        return self._volumes.connector()

    def connect_volume(self, connection_info: Json, secret: Callable[[], Json]) -> Json:
        """Make the volume usable by QEMU here; returns what to add to its data."""
        return self._volumes.connect(connection_info, secret)

    def find_connection(self, connection_info: Json) -> bool:
        """Whether this host has the volume open as a device now."""
        return self._volumes.find(connection_info)

    def disconnect_volume(self, connection_info: Json) -> None:
        """Flush and remove the device."""
        self._volumes.disconnect(connection_info)

    # --- VIFs -------------------------------------------------------------------------------------

    def find_vif(self, vif: Json) -> bool:
        """Whether a tap that we made for the port exists."""
        return self._vifs.find(vif)

    def plug_vif(self, vif: Json) -> None:
        """Plug the port where libvirt does not do it itself."""
        self._vifs.plug(vif)

    def unplug_vif(self, vif: Json) -> None:
        """Unplug it."""
        self._vifs.unplug(vif)

    # --- the domain -------------------------------------------------------------------------------

    def to_xml(self, spec: GuestSpec) -> str:
        """The domain's XML. Changes nothing; reads the root disk's header where it is there."""
        return domain_xml(spec, self._shape(spec))

    def find_domain(self, uuid: str) -> Domain | None:
        """The domain as it is now, None when there is none."""
        return self._domains.find(uuid)

    def define_domain(self, uuid: str, xml: str) -> Domain:
        """Define it, validated by libvirt."""
        return self._domains.define(uuid, xml)

    def undefine_domain(self, uuid: str) -> None:
        """Undefine it; Refused while it is active."""
        self._domains.undefine(uuid)

    def start_domain(self, uuid: str) -> Domain:
        """Start it; returns it RUNNING."""
        return self._domains.start(uuid)

    def destroy_domain(self, uuid: str) -> None:
        """Stop it hard; returns when its QEMU is seen to be gone."""
        self._domains.destroy(uuid)

    def console(self, uuid: str, offset: int = 0) -> tuple[bytes, int]:
        """Console output from byte `offset`, and the offset to go on from."""
        return self._consoles.read(uuid, offset)

    def addresses(self, uuid: str, network_info: Sequence[Json], pause: Pause) -> list[str]:
        """Addresses that the guest is seen to have now."""
        return addresses.seen(self.connection, uuid, network_info)

    # --- inside -----------------------------------------------------------------------------------

    def _needs_agent_socket(self) -> bool:
        # elsewhere libvirt's own choice of a path is short and is cleaned up by libvirt
        return self.connection.target.kind is Kind.EMBED

    def _shape(self, spec: GuestSpec) -> HostShape:
        directory, agent = spec.directory, None
        if self._needs_agent_socket():
            agent = f"{directory}/{_AGENT_SOCKET}"
            if len(agent) > _SOCKET_PATH_LIMIT:
                agent = f"{short_path.of(Path(directory))}/{_AGENT_SOCKET}"
        return HostShape(
            arch=str(self._settings.extra.get("arch") or platform.machine()),
            secret_files=self._secrets.files,
            agent_socket=agent,
            console_log=self.connection.target.local,
            initiator=initiator_of(self._host),
            backing=self._image_left_alone(spec.root_disk),
        )

    def _image_left_alone(self, disk: str | None) -> tuple[str, str] | None:
        """The image below `disk`, when a daemon would take it from its owner without need: QEMU's
        user can read it as it is.
        """
        if disk is None or self.connection.target.kind is not Kind.SYSTEM:
            return None
        backing = qcow2.backing(Path(disk))
        if backing is None:
            return None
        try:
            readable = Path(backing[0]).stat().st_mode & stat.S_IROTH
        except OSError:
            return None  # libvirt will say so in its own words
        return backing if readable else None

    def _refuse_closed(self, path: Path) -> None:
        user = self._qemu_user
        closed = None if user is None else user.first_closed(path)
        if closed is not None:
            assert user is not None
            raise HostUnusable(
                f"QEMU runs as {user.name}, which may not enter {closed} on the way to {path}:"
                f" use a place that it may enter, such as --home /var/lib/buildflow,"
                f" or `chmod o+x {closed}`"
            )
