"""The image driver of a simulated cloud."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from buildflow.drivers.protocols import Image, Json, Pause, Thing
from buildflow.errors import BadInput, DriverError, NotFound

if TYPE_CHECKING:
    from buildflow.drivers.simulated.world import SimulatedWorld


class SimulatedImage:
    """ImageDriver over `world`: images by name or id. Their cache is no effect and is not kept."""

    name = "simulated"

    def __init__(self, world: SimulatedWorld) -> None:
        self.world = world

    def check(self) -> None:
        """See that the world can be read. Raises HostUnusable."""
        with self.world.look():
            return

    def inventory(self) -> Iterable[Thing]:
        """Images are the user's: none may be ours."""
        return ()

    def close(self) -> None:
        """The world stays."""

    def validate(self, image: str) -> Json:
        """See that it is there and safe. Raises NotFound, BadInput."""
        self.world.delay()
        found = self._find(image)
        if found["flaw"] is not None:
            raise BadInput(f"image {image} cannot be used: {found['flaw']}")
        return {name: found[name] for name in ("id", "name", "size")}

    def fetch(self, image: str, pause: Pause) -> Image:
        """The image as a file. Raises DriverError when the download breaks."""
        self.validate(image)
        found = self._find(image)
        if found["breaks"]:
            raise DriverError(f"the download of image {image} broke off", driver="image")
        return Image(
            path=f"/sim/images/{found['id']}",
            format=found["format"],
            virtual_size=found["virtual_size"],
            id=found["id"],
        )

    def _find(self, image: str) -> Json:
        with self.world.look() as state:
            images = state.tables["images"]
            found = images.get(image)
            if found is None:
                found = next((each for each in images.values() if each["name"] == image), None)
        if found is None:
            raise NotFound(f"no image {image}")
        return found
