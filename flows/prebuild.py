"""`_prebuild_instance`: the request is checked against the world before anything is made."""

from __future__ import annotations

from typing import Any, ClassVar

from buildflow.drivers.protocols import GuestSpec, Json, PortRequest
from buildflow.drivers.world import World
from buildflow.engine.step import Step
from buildflow.errors import BuildflowError


class PrebuildInstance(Step):
    """Takes the build on (nova: _prebuild_instance, _start_building)."""

    no_undo: ClassVar[str] = "it only checks"

    def __init__(self, name: str, request: Json, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self.request = request

    def perform(self) -> None:
        """Check, unless this very process has done so just now."""
        world: World = self.world
        if self.run.id in world.validated:
            world.validated.discard(self.run.id)
            return
        validate(world, self.request, self.run.id)


def validate(world: World, request: Json, build: str) -> None:
    """Refuse what can't work, while nothing has been made.

    `request` is the normalised one of flows/build.py. Raises BadInput, NotFound, Conflict,
    Exhausted or HostUnusable.
    """
    if request["image"] is not None:
        world.image.validate(request["image"])
    for port in request["ports"]:
        world.network.validate(PortRequest(**port))
    for volume in request["volumes"]:
        if volume["id"] is not None:
            world.volume.validate(volume["id"], build)
        else:
            world.volume.check()  # what will be made must be able to be detached and deleted
    spec = GuestSpec(
        uuid=build,
        name=request["name"],
        memory_mib=request["memory_mib"],
        vcpus=request["vcpus"],
        virt_type=request["virt_type"] or "qemu",
        directory="",
        root_disk=None,
        root_disk_format="qcow2",
        network_info=[],
        block_device_info={},
    )
    refusals: list[BuildflowError] = []
    hosts = request["hosts"] or world.hosts
    for host in hosts:
        try:
            world.on(host).validate(spec)
        except BuildflowError as error:
            refusals.append(error)
        else:
            return
    raise refusals[0]
