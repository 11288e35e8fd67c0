"""A sample of plans, played in both worlds by a process that has opened no hypervisor yet."""

from __future__ import annotations

from pathlib import Path

from buildflow.config import Settings
from buildflow.faults.plan import Fault
from buildflow.faults.real import Comparison
from buildflow.faults.real_machine import real_machine
from buildflow.faults.scene_names import Asked
from tests.lab.directories import open_directory

LAST = Fault("er", None, "finish:execute")


def at(code: str, name: str, *, back: bool = False, turn: int = 1) -> tuple[Fault, ...]:
    fault = Fault(code, None, name, turn)
    return (LAST, fault) if back else (fault,)


# around the effects that matter: the kill before, between and after; the error that the driver
# raises; the answer that is lost
SAMPLE = [
    at("ki", "port_0:made"),
    at("lo", "root_disk/compute.create_disk:after"),
    at("c1", "define/compute.define_domain:before"),
    at("ki", "start/compute.start_domain:before"),
    at("ki", "start/compute.start_domain:after"),
    at("lo", "start/compute.start_domain:after"),
    at("cm", "start/compute.start_domain:before"),
    at("ki", "finish/commit:after"),
    at("sf", "finish/commit:before"),
    at("ki", "start:undone", back=True),
    at("c1", "define/compute.undefine_domain:before", back=True),
    at("er", "root_disk:undo", back=True),
]


def compare_all(image: Path) -> list[Comparison]:
    """Each plan of the sample, with guests that boot `image`."""
    machine = Asked(volumes=0)
    scene = machine.scene()
    settings = Settings(virt_type="qemu")
    with (
        open_directory() as home,
        real_machine(settings, home, machine, image=str(image)) as world,
    ):
        return [world.compare(scene, plan) for plan in SAMPLE]
