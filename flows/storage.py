"""The instance's files on its host: its directory, and the root disk made from the image."""

from __future__ import annotations

from typing import Any, ClassVar

from buildflow.drivers.protocols import Image, Json
from buildflow.engine.step import Step
from buildflow.flows.steps import EffectStep


class InstanceDirectory(EffectStep):
    """The directory in which QEMU writes; made first, so that it goes last. Provides its path."""

    kind: ClassVar[str] = "directory"

    def facts(self, host: str) -> Json:
        """Where, and its name: a second attempt on the same host has a directory of its own."""
        return {"host": host}

    def find(self, key: str, facts: Json) -> str | None:
        """By its name."""
        return self.on(facts["host"]).find_directory(key)

    def create(self, key: str, facts: Json) -> str:
        """Make it."""
        return self.on(facts["host"]).create_directory(key)

    def delete(self, key: str, facts: Json) -> None:
        """With all that is in it."""
        self.on(facts["host"]).delete_directory(key)


class FetchImage(Step):
    """The image as a local, inspected file. Provides `image`."""

    no_undo: ClassVar[str] = "the cache of images is shared by builds and stays"

    def __init__(self, name: str, image: str, **kwargs: Any) -> None:
        super().__init__(name, provides="image", **kwargs)
        self.image = image

    def perform(self) -> Json:
        """See drivers/protocols.py: ImageDriver.fetch."""
        image: Image = self.world.image.fetch(self.image, self.pause)
        return image.to_json()


class RootDisk(EffectStep):
    """A qcow2 overlay on the image. Provides its path (nova: _create_image)."""

    kind: ClassVar[str] = "disk"

    def __init__(self, name: str, disk_gib: int | None, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self.disk_gib = disk_gib

    def facts(self, host: str, directory: str, image: Json) -> Json:
        """On which image, how large, and where. Size in bytes."""
        size = None if self.disk_gib is None else self.disk_gib << 30
        return {"host": host, "directory": directory, "image": image, "size": size}

    def find(self, key: str, facts: Json) -> str | None:
        """A complete one only."""
        return self.on(facts["host"]).find_disk(key, facts["directory"])

    def create(self, key: str, facts: Json) -> str:
        """Make it, complete or not at all."""
        image = Image(**facts["image"])
        return self.on(facts["host"]).create_disk(key, facts["directory"], image, facts["size"])

    def delete(self, key: str, facts: Json) -> None:
        """Half-made remains included."""
        self.on(facts["host"]).delete_disk(key, facts["directory"])
