"""A whole build through the four drivers, as the flow makes its calls, and its way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from buildflow.drivers.protocols import Domain, GuestSpec, PortRequest
from buildflow.drivers.world import World


def no_pause(_seconds: float) -> None:
    """A simulated driver never waits."""


@dataclass
class OneBuild:
    """One instance on one host. `volumes` are ids of volumes that are there."""

    drivers: World
    uuid: str
    volumes: Sequence[str] = ()
    host: str = "sim1"
    name: str = ""
    nics: int = 1
    ports: list[dict[str, Any]] = field(default_factory=list)
    attachments: list[str] = field(default_factory=list)
    infos: list[dict[str, Any]] = field(default_factory=list)
    directory: str = ""

    @property
    def compute(self) -> Any:
        """Its host's driver."""
        return self.drivers.on(self.host)

    def key(self, step: str) -> str:
        """The key of a step's effect."""
        return f"{self.uuid}-{step}"

    def make(self) -> Domain:
        """Every call of a build that succeeds; returns the domain as its start left it."""
        self.prepare()
        return self.start()

    def prepare(self) -> None:
        """Everything up to the definition."""
        self.make_network()
        self.make_volumes()
        self.make_files()
        self.define()

    def make_network(self) -> None:
        """Ports, bound."""
        network = self.drivers.network
        for index in range(self.nics):
            request = PortRequest(None)
            network.validate(request)
            port = network.create_port(
                self.key(f"port:{index}"), self.uuid, self.name or "vm", request
            )
            self.ports.append(network.bind_port(self.key(f"bind:{index}"), port, self.host))

    def make_volumes(self) -> None:
        """Reserved, exported, attached, opened on the host."""
        service, connector = self.drivers.volume, self.compute.connector()
        for index, volume in enumerate(self.volumes):
            service.validate(volume, self.uuid)
            attachment = service.reserve(self.key(f"reserve:{index}"), volume, self.uuid)
            info = service.initialize_connection(attachment, volume, connector, "/dev/vdb")
            service.attach(attachment, volume, self.uuid, "/dev/vdb")
            added = self.compute.connect_volume(
                info,
                lambda a=attachment, v=volume: service.connection_secrets(a, v, connector),
            )
            self.attachments.append(attachment)
            self.infos.append({**info, "data": {**info["data"], **added}})

    def make_files(self) -> None:
        """The directory and the root disk."""
        self.directory = self.compute.create_directory(self.key("directory"))
        image = self.drivers.image.fetch("tiny", no_pause)
        self.compute.create_disk(self.key("disk"), self.directory, image, 1 << 30)

    def define(self) -> None:
        """Secrets, the plugged NICs, and the domain."""
        service, connector = self.drivers.volume, self.compute.connector()
        for index, volume in enumerate(self.volumes):
            if "device_path" not in self.infos[index]["data"]:
                data = service.connection_secrets(self.attachments[index], volume, connector)[
                    "data"
                ]
                self.compute.create_secret(
                    self.key(f"secret:{index}"), data["auth_username"], data["auth_password"]
                )
        for port in self.ports:
            self.compute.plug_vif(port)
        self.compute.define_domain(self.uuid, self.compute.to_xml(self.spec()))

    def spec(self) -> GuestSpec:
        """What the hypervisor is told."""
        return GuestSpec(
            uuid=self.uuid,
            name=self.name or f"vm-{self.uuid}",
            memory_mib=128,
            vcpus=1,
            virt_type="qemu",
            directory=self.directory,
            root_disk=self.compute.find_disk(self.key("disk"), self.directory),
            root_disk_format="qcow2",
            network_info=self.ports,
            block_device_info={
                "block_device_mapping": [
                    {
                        "connection_info": info,
                        "mount_device": f"/dev/vd{'bcdef'[index]}",
                        "boot_index": None,
                        "guest_format": None,
                        "disk_bus": None,
                        "device_type": None,
                        "delete_on_termination": False,
                    }
                    for index, info in enumerate(self.infos)
                ],
                "root_device_name": "/dev/vda",
                "ephemerals": [],
                "swap": None,
            },
            secrets={
                volume: self.key(f"secret:{index}") for index, volume in enumerate(self.volumes)
            },
            metadata={"build": self.uuid},
        )

    def start(self) -> Domain:
        """The guest runs, its secrets go, its boot is watched."""
        domain: Domain = self.compute.start_domain(self.uuid)
        for index in range(len(self.volumes)):
            self.compute.delete_secret(self.key(f"secret:{index}"))
        for port in self.ports:
            self.drivers.network.port_active(port)
        self.compute.find_domain(self.uuid)
        self.compute.console(self.uuid)
        return domain

    def unmake(self) -> None:
        """Every undo, in the order of a rollback."""
        network, service = self.drivers.network, self.drivers.volume
        self.compute.destroy_domain(self.uuid)
        self.compute.undefine_domain(self.uuid)
        for port in self.ports:
            self.compute.unplug_vif(port)
        for index in range(len(self.volumes)):
            self.compute.delete_secret(self.key(f"secret:{index}"))
        self.compute.delete_disk(self.key("disk"), self.directory)
        connector = self.compute.connector()
        for index, volume in enumerate(self.volumes):
            attachment = self.attachments[index]
            self.compute.disconnect_volume(self.infos[index])
            service.detach(attachment, volume, self.uuid)
            service.terminate_connection(attachment, volume, connector)
            service.unreserve(self.key(f"reserve:{index}"), volume, self.uuid)
        for index, port in enumerate(self.ports):
            network.unbind_port(self.key(f"bind:{index}"), port, self.host)
            network.delete_port(self.key(f"port:{index}"), port)
        self.compute.delete_directory(self.key("directory"))
