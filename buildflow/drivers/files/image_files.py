"""Images that are files of this host: the default image driver."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from buildflow.config import Settings
from buildflow.drivers.files import inspection
from buildflow.drivers.protocols import Image, Json, Pause, Thing


class FileImageDriver:
    """An image is named by its path. It is used where it lies and never changed."""

    name = "file"

    def check(self) -> None:
        """Files need nothing."""

    def inventory(self) -> Iterable[Thing]:
        """Images are the user's own: there are none of ours."""
        return ()

    def close(self) -> None:
        """Nothing is held."""

    def validate(self, image: str) -> Json:
        """See that the image is there and safe: `id` (its path), `name`, `size` in bytes of the
        file, `virtual_size`, `format`. Raises NotFound, BadInput.
        """
        found = inspection.inspect(Path(image))
        return {
            "id": found.path,
            "name": Path(found.path).name,
            "size": Path(found.path).stat().st_size,
            "virtual_size": found.virtual_size,
            "format": found.format,
        }

    def fetch(self, image: str, pause: Pause) -> Image:
        """The image, inspected; it is local already. Raises NotFound, BadInput."""
        return inspection.inspect(Path(image))


def looks_like_a_file(image: str) -> bool:
    """Whether `image` can only be meant as a path, or is one that exists."""
    return os.sep in image or Path(image).exists()


def open_image_files(settings: Settings, say: Callable[[str], None]) -> FileImageDriver:
    """The driver; files need no settings."""
    return FileImageDriver()
