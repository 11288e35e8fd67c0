"""A sample of plans for a real cloud, played by a process that has opened no hypervisor yet."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from buildflow.config import Settings
from buildflow.faults.plan import Fault
from buildflow.faults.real import Comparison, RealWorld, in_child
from buildflow.faults.real_machine import real_machine
from buildflow.faults.scene_names import Asked
from tests.drivers.openstack.witness import Witness
from tests.faults.real_sample import at
from tests.lab.directories import open_directory
from tests.lab.openstack import NETWORK, OpenStackLab

Plan = tuple[Fault, ...]

# its root on a volume that is there already
BOOTED = Asked(volumes=1, boot="volume")
# around each effect of a cloud: killed before it, after it, or once it is recorded; refused; done,
# and the answer lost; on the way there and on the way back
SAMPLE: list[Plan] = [
    at("n9", "port_0/network.create_port:before"),
    at("ki", "port_0/network.create_port:after"),
    at("lo", "port_0_bind/network.bind_port:after"),
    at("ki", "volume_0_reserve/volume.reserve:after"),
    at("v9", "volume_0_reserve/volume.reserve:before"),
    at("lo", "volume_0_connect/volume.initialize_connection:after"),
    at("sf", "volume_0_attach/commit:before"),
    at("ki", "secret_0:made"),
    at("su", "start/commit:after"),
    at("er", "ports_active:execute"),
    at("ki", "volume_0_connect/volume.terminate_connection:after", back=True),
    at("n3", "port_0/network.delete_port:before", back=True),
    at("v5", "volume_0_attach/volume.detach:before", back=True),
]
# the same, by the protocol before attachments
LEGACY = Asked(volumes=1, boot="volume", api="legacy")
SAMPLE_LEGACY: list[Plan] = [
    at("ki", "volume_0_attach/volume.attach:after"),
    at("er", "volume_0_connect:undo", back=True),
]
# a volume that is made for it as well
MADE = Asked(volumes=1, boot="volume", made=True)
SAMPLE_MADE: list[Plan] = [
    at("ki", "volume_1_create/volume.create_volume:after"),
    at("lo", "volume_1_create/volume.delete_volume:after", back=True),
]
# the delete of one that was built without faults
DELETED = Asked(volumes=1, boot="volume", delete=True)
SAMPLE_DELETED: list[Plan] = [at("ki", "volume_0_attach/volume.detach:after")]


@contextmanager
def machine_on(lab: OpenStackLab, machine: Asked) -> Iterator[RealWorld]:
    """The machine, on a lab."""
    os.environ["OS_CLIENT_CONFIG_FILE"] = str(lab.clouds_yaml)
    settings = Settings(virt_type="qemu", os_cloud="lab", os_service_cloud="labsvc")
    with open_directory() as home, real_machine(settings, home, machine, network=NETWORK) as world:
        yield world


def compare_on(lab_directory: Path, machine: Asked, plans: list[Plan]) -> list[Comparison]:
    """Each plan, on the lab in this directory."""
    lab = OpenStackLab.attach(lab_directory)
    with machine_on(lab, machine) as world:

        def exported(build: str) -> dict[str, int]:
            """What tgtd itself says: the lab has no other exports."""
            return {"export": len(lab.tgt.targets())}

        world.witnesses = (*world.witnesses, exported)
        scene = machine.scene()
        return [world.compare(scene, plan) for plan in plans]


def compare_spoilt(lab_directory: Path) -> list[Comparison]:
    """One plan twice; before the first its volume becomes useless."""
    lab = OpenStackLab.attach(lab_directory)
    plan = at("er", "volume_0_reserve:execute")

    def spoil() -> bool:
        witness = Witness(lab)
        for volume_id in witness.all_volumes():
            witness.reset_status(volume_id, "error")
        return True

    with machine_on(lab, BOOTED) as world:
        in_child(spoil)
        scene = BOOTED.scene()
        return [world.compare(scene, plan) for _ in range(2)]
