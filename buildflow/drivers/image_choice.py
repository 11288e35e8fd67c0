"""Files beside Glance: what is a path is used as one, all else is asked of the service."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from buildflow.config import Settings
from buildflow.drivers.files.image_files import FileImageDriver, looks_like_a_file, open_image_files
from buildflow.drivers.protocols import Image, ImageDriver, Json, Pause, Thing


class ImageChoice:
    """ImageDriver that hands paths to `files` and all else to `service`."""

    def __init__(self, files: FileImageDriver, service: ImageDriver) -> None:
        self.name = service.name
        self._files = files
        self._service = service

    def _for(self, image: str) -> ImageDriver:
        return self._files if looks_like_a_file(image) else self._service

    def check(self) -> None:
        """See that the service can be used."""
        self._service.check()

    def inventory(self) -> Iterable[Thing]:
        """What the service's cache holds."""
        return self._service.inventory()

    def close(self) -> None:
        """Close the service."""
        self._service.close()

    def validate(self, image: str) -> Json:
        """As the image's own driver."""
        return self._for(image).validate(image)

    def fetch(self, image: str, pause: Pause) -> Image:
        """As the image's own driver."""
        return self._for(image).fetch(image, pause)


def glance_or_file(settings: Settings, say: Callable[[str], None]) -> ImageDriver:
    """Glance's images, and files."""
    from buildflow.drivers.openstack import factory

    return ImageChoice(open_image_files(settings, say), factory.image(settings, say))
