"""Scenes of machines by name, and names for what a user asks for: a token carries such a name.

    build-1n2v                 one NIC, two volumes, booted from an image
    build-1n1v-bfv-2hosts      booted from the volume; a second host to try
    delete-2n0v-made           the delete of a machine with a volume that was made for it

Names of scenes that machines.py has ready count as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from buildflow.errors import BadInput
from buildflow.faults.machines import SCENES, MachineScene, make_scene

# more of them make the exploration longer and show nothing that two do not
NICS_MAX: Final = 4
VOLUMES_MAX: Final = 4
HOSTS_MAX: Final = 4

_NAME: Final = re.compile(
    r"(?P<what>build|delete)-(?P<nics>\d)n(?P<volumes>\d)v(?P<bfv>-bfv)?(?P<made>-made)?"
    r"(?P<host>-host)?(?P<legacy>-legacy)?(?:-(?P<hosts>\d)hosts)?"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a user may ask for. `attach`: `qemu` or `host`; `api`: `attachments` or `legacy`."""

    nics: int = 1
    volumes: int = 2
    boot: str = "image"
    made: bool = False
    delete: bool = False
    hosts: int = 1
    attach: str = "qemu"
    api: str = "attachments"

    @property
    def name(self) -> str:
        """As tokens have it."""
        return "".join((
            "delete" if self.delete else "build",
            f"-{self.nics}n{self.volumes}v",
            "-bfv" if self.boot == "volume" else "",
            "-made" if self.made else "",
            "-host" if self.attach == "host" else "",
            "-legacy" if self.api == "legacy" else "",
            f"-{self.hosts}hosts" if self.hosts > 1 else "",
        ))  # fmt: skip

    def scene(self) -> MachineScene:
        """The scene. Raises BadInput for what can't be."""
        for what, count, most in (
            ("NICs", self.nics, NICS_MAX),
            ("volumes", self.volumes, VOLUMES_MAX),
            ("hosts", self.hosts, HOSTS_MAX),
        ):
            if not 0 <= count <= most:
                raise BadInput(f"{count} {what} are not explored; 0 to {most} can be")
        if self.hosts < 1:
            raise BadInput("a build needs a host")
        if self.boot not in ("image", "volume"):
            raise BadInput(f"a machine boots from `image` or from `volume`, not from {self.boot!r}")
        if self.attach not in ("qemu", "host"):
            raise BadInput(f"a volume is attached by `qemu` or by `host`, not by {self.attach!r}")
        if self.api not in ("attachments", "legacy"):
            raise BadInput(f"Cinder is spoken to by `attachments` or `legacy`, not by {self.api!r}")
        if self.boot == "volume" and not self.volumes:
            raise BadInput("a boot from a volume needs one: --volumes 1 or more")
        more: dict[str, Any] = {
            "nics": self.nics, "volumes": self.volumes, "attach": self.attach,
            "hosts": tuple(f"sim{number + 1}" for number in range(self.hosts)),
            "boot_from_volume": self.boot == "volume", "created_volume": self.made,
            "deleting": self.delete, "api": self.api,
        }  # fmt: skip
        return MachineScene(self.name, **more)


def scene_called(name: str) -> MachineScene:
    """A scene by its name. Raises BadInput for a name that is none, with those that are."""
    if name in SCENES:
        return make_scene(name)
    found = _NAME.fullmatch(name)
    if found is None:
        raise BadInput(
            f"no scene is called {name!r}; there are {', '.join(SCENES)},"
            " and names such as build-2n1v-bfv-2hosts"
        )
    return Asked(
        nics=int(found["nics"]),
        volumes=int(found["volumes"]),
        boot="volume" if found["bfv"] else "image",
        made=bool(found["made"]),
        delete=found["what"] == "delete",
        hosts=int(found["hosts"] or 1),
        attach="host" if found["host"] else "qemu",
        api="legacy" if found["legacy"] else "attachments",
    ).scene()
