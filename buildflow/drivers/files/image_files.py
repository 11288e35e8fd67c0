"""Images that are files of this host: the default image driver."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from buildflow.config import Settings
from buildflow.drivers.files import inspection
from buildflow.drivers.files.reachable import reachable
from buildflow.drivers.libvirt.qemu_user import QemuUser, qemu_user
from buildflow.drivers.libvirt.uri import parse
from buildflow.drivers.protocols import Image, Json, Pause, Thing


class FileImageDriver:
    """An image is named by its path. It is never changed, and used where it lies unless QEMU's
    `user` (None: ourselves) may not read it there: then a copy in `cache` is.
    """

    name = "file"

    def __init__(self, cache: Path, user: QemuUser | None = None) -> None:
        self._cache = cache
        self._user = user

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
        """The image, inspected, where QEMU can read it. Raises NotFound, BadInput, and Exhausted
        when it must be copied and does not fit.
        """
        return reachable(inspection.inspect(Path(image)), self._user, self._cache, pause)


def looks_like_a_file(image: str) -> bool:
    """Whether `image` can only be meant as a path, or is one that exists."""
    return os.sep in image or Path(image).exists()


def open_image_files(settings: Settings, say: Callable[[str], None]) -> FileImageDriver:
    """The driver, for the QEMU that `settings.libvirt_uri` runs."""
    return FileImageDriver(
        settings.home / "images" / "files", qemu_user(parse(settings.libvirt_uri))
    )
