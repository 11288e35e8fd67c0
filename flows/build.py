"""The build flow, nested and named as documented (docs: the call diagram comes out of this file).

    buildinstance
      _prebuild_instance
      _build_instance                       one attempt on one host; round it the retry over hosts
        network_info = self._allocate_network
        block_device_info = self._prep_block_device
        instance = self._spawn
          self.driver.spawn
            _create_image
            to_xml
            _create_domain_and_network
            Wait for boot

Steps that the document does not show stand beside these or one level deeper. Independent ports and
volumes are unordered, so that they may overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from taskflow.patterns import linear_flow, unordered_flow

from buildflow.drivers.protocols import Json
from buildflow.engine.complete import Complete
from buildflow.flows import domain, network, storage, volume
from buildflow.flows.boot import WaitForBoot
from buildflow.flows.claim import ClaimHost
from buildflow.flows.placement import OverHosts
from buildflow.flows.prebuild import PrebuildInstance
from buildflow.flows.steps import Enter

DEFAULT_NIC: Json = {"network": None, "port_id": None, "fixed_ip": None, "mac": None}
_VOLUME: Json = {
    "id": None,
    "image_id": None,
    "snapshot_id": None,
    "size": None,
    "boot_index": None,
    "delete_on_termination": False,
    "read_only": False,
}


def build_flow(
    name: str = "instance",
    image: str | None = None,
    boot_volume: Json | None = None,
    volumes: Sequence[Json] = (),
    networks: Sequence[Json] = ({},),
    no_network: bool = False,
    memory_mib: int = 512,
    vcpus: int = 1,
    disk_gib: int | None = None,
    wait: str = "power",
    timeout_s: float = 120.0,
    virt_type: str | None = None,
    hosts: Sequence[str] = (),
    max_attempts: int = 3,
    affinity_group: str | None = None,
    anti_affinity_group: str | None = None,
) -> Any:
    """The flow that builds one machine; see flows/request.py for what the arguments mean.

    `hosts` are the candidates in order, none for those that the engine serves. With neither `image`
    nor `boot_volume` it is an image's flow, which is what a diagram without a build shows.
    """
    request = normalise(
        name=name, image=image, boot_volume=boot_volume, volumes=volumes, networks=networks,
        no_network=no_network, memory_mib=memory_mib, vcpus=vcpus, virt_type=virt_type,
        hosts=hosts,
    )  # fmt: skip
    demand = {
        "vcpus": vcpus,
        "memory_mib": memory_mib,
        "disk_gib": disk_gib or 0,
        "affinity_group": affinity_group,
        "anti_affinity_group": anti_affinity_group,
    }
    attempt = linear_flow.Flow(
        "_build_instance", retry=OverHosts("over hosts", hosts, max_attempts, demand)
    )
    attempt.add(
        ClaimHost("claim host", demand),
        storage.InstanceDirectory("instance directory", provides="directory"),
        _allocate_network(request),
        _prep_block_device(request),
        _spawn(request, disk_gib, wait, timeout_s),
    )
    return linear_flow.Flow("buildinstance").add(
        PrebuildInstance("_prebuild_instance", request, on_start=("start_building",)),
        attempt,
        Complete("finish", triggers=("activate", "finish_spawning")),
    )


def normalise(
    *,
    name: str,
    image: str | None,
    boot_volume: Json | None,
    volumes: Sequence[Json],
    networks: Sequence[Json],
    no_network: bool,
    memory_mib: int,
    vcpus: int,
    virt_type: str | None,
    hosts: Sequence[str],
) -> Json:
    """The request with every default filled in: the boot volume first, each with its device."""
    disks = [] if boot_volume is None else [{**_VOLUME, **boot_volume, "boot_index": 0}]
    disks += [{**_VOLUME, **disk} for disk in volumes]
    letters = "abcdefghijklmnopqrstuvwxyz"
    first = 0 if boot_volume is not None else 1
    for index, disk in enumerate(disks):
        # the document calls a boot volume's device `vda`, and an image's `/dev/vda`
        prefix = "" if boot_volume is not None else "/dev/"
        disk["mount_device"] = f"{prefix}vd{letters[first + index]}"
    return {
        "name": name,
        "image": image,
        "ports": [] if no_network else [{**DEFAULT_NIC, **nic} for nic in networks or ({},)],
        "volumes": disks,
        "boot_from_volume": boot_volume is not None,
        "memory_mib": memory_mib,
        "vcpus": vcpus,
        "virt_type": virt_type,
        "hosts": list(hosts),
    }


def _overlapping(name: str, parts: list[Any]) -> list[Any]:
    """Nothing, the one part, or all of them side by side."""
    return parts if len(parts) < 2 else [unordered_flow.Flow(name).add(*parts)]


def _allocate_network(request: Json) -> Any:
    flow = linear_flow.Flow("network_info = self._allocate_network")
    flow.add(Enter("networking", on_start=("start_networking",)))
    ports = []
    for index, port in enumerate(request["ports"]):
        ports.append(
            linear_flow.Flow(f"nic {index}").add(
                network.CreatePort(
                    f"port:{index}",
                    port,
                    request["name"],
                    provides=f"port_{index}",
                    about=f"nic {index}",
                ),
                network.BindPort(
                    f"port:{index}:bind",
                    rebind={"port": f"port_{index}"},
                    provides=f"vif_{index}",
                    about=f"nic {index}",
                ),
            )
        )
    flow.add(*_overlapping("ports", ports))
    return flow.add(network.NetworkInfo("network_info", len(ports)))


def _prep_block_device(request: Json) -> Any:
    flow = linear_flow.Flow("block_device_info = self._prep_block_device")
    flow.add(Enter("block_device_mapping", on_start=("start_block_device_mapping",)))
    disks = [_volume(index, disk) for index, disk in enumerate(request["volumes"])]
    flow.add(*_overlapping("volumes", disks))
    return flow.add(volume.BlockDeviceInfo("block_device_info", request["volumes"]))


def _volume(index: int, disk: Json) -> Any:
    flow = linear_flow.Flow(f"volume {index}")
    name, device = f"volume:{index}", disk["mount_device"]
    volume_id, about = f"volume_id_{index}", f"volume {index}"
    if disk["id"] is None:
        flow.add(volume.CreateVolume(f"{name}:create", disk, provides=volume_id, about=about))
    else:
        flow.add(volume.GivenVolume(f"{name}:given", disk["id"], provides=volume_id))
    names = {
        "volume_id": volume_id,
        "attachment_id": f"attachment_id_{index}",
        "connection_info": f"connection_info_{index}",
    }

    def rebind(*wanted: str) -> dict[str, str]:
        return {key: names[key] for key in wanted}

    return flow.add(
        volume.ReserveVolume(
            f"{name}:reserve",
            device,
            rebind=rebind("volume_id"),
            provides=names["attachment_id"],
            about=about,
        ),
        volume.ConnectVolume(
            f"{name}:connect",
            device,
            rebind=rebind("volume_id", "attachment_id"),
            provides=names["connection_info"],
            about=about,
        ),
        volume.AttachVolume(f"{name}:attach", device, rebind=rebind(*names), about=about),
        volume.ConnectHost(
            f"{name}:host",
            device,
            rebind=rebind(*names),
            provides=f"device_{index}",
            about=about,
        ),
    )


def _spawn(request: Json, disk_gib: int | None, wait: str, timeout_s: float) -> Any:
    volumes = request["volumes"]
    driver = linear_flow.Flow("self.driver.spawn")
    image = linear_flow.Flow("_create_image")
    if not request["boot_from_volume"]:
        image.add(
            storage.FetchImage("fetch image", request["image"] or ""),
            storage.RootDisk("root disk", disk_gib, provides="root_disk"),
        )
    else:
        image.add(Enter("boot from volume"))
    start = linear_flow.Flow("_create_domain_and_network")
    secrets = [f"secret:{index}" for index in range(len(volumes))]
    for index, secret in enumerate(secrets):
        start.add(
            domain.Secret(
                secret,
                index,
                rebind={
                    "volume_id": f"volume_id_{index}",
                    "attachment_id": f"attachment_id_{index}",
                },
            )
        )
    for index in range(len(request["ports"])):
        start.add(network.PlugVif(f"plug:{index}", index, about=f"nic {index}"))
    start.add(
        domain.DefineDomain("define", provides="domain"),
        domain.StartDomain("start", provides="guest"),
    )
    if secrets:
        start.add(domain.ReleaseSecrets("release secrets", secrets))
    if request["ports"]:
        start.add(network.WaitForVifs("ports active"))
    driver.add(
        image,
        domain.ToXml("to_xml", request, len(volumes)),
        start,
        WaitForBoot("Wait for boot", wait, timeout_s),
    )
    return linear_flow.Flow("instance = self._spawn").add(
        Enter("spawning", on_start=("start_spawning",)), driver
    )
