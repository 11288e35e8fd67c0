"""Images from Glance (nova/image/glance.py), by openstacksdk, kept in a cache on this host.

The cache (HOME/images) is shared by builds and processes, and outlives both: an image never
changes, so that its id is its address. How a file gets into it whole or not at all is
`image_cache`'s business; this file asks Glance and judges what it says.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from contextlib import closing, suppress
from typing import Any, Final

from openstack import exceptions as sdk_exceptions

from buildflow.config import Settings
from buildflow.drivers.files import inspection
from buildflow.drivers.openstack import image_head
from buildflow.drivers.openstack.ask import ask
from buildflow.drivers.openstack.image_cache import BROKEN, Checksum, ImageCache
from buildflow.drivers.openstack.session import Cloud
from buildflow.drivers.protocols import Image, Json, Pause, Thing
from buildflow.errors import BadInput, BuildflowError, Conflict, HostUnusable, NotFound

_FORMATS: Final = frozenset({"raw", "qcow2"})
_CONTAINERS: Final = frozenset({None, "bare"})
_NOT_YET: Final = frozenset({"queued", "saving", "uploading", "importing"})
_STALL_S: Final = 5.0
"""A download without a byte for so long is broken off and resumed: a wait must not be deaf to a
build that is to stop."""


class GlanceImages:
    """The ImageDriver of Glance. Sizes in bytes."""

    name: Final = "glance"

    def __init__(
        self, settings: Settings, *, cloud: Cloud | None = None, owns_cloud: bool = False
    ) -> None:
        self._cloud = cloud or Cloud(settings)
        self._owns_cloud = owns_cloud or cloud is None
        self._cache = ImageCache(settings.home / "images")

    def check(self) -> None:
        """See that Glance answers."""
        try:
            self._ask("list images", lambda: next(iter(self._api.images(limit=1)), None))
        except HostUnusable:
            raise
        except BuildflowError as error:
            raise HostUnusable(f"Glance cannot be used: {error.summary}") from None

    def inventory(self) -> Iterable[Thing]:
        """None: the cache stays, and the images are the user's."""
        return ()

    def close(self) -> None:
        """Close the cloud's connections, unless they are shared."""
        if self._owns_cloud:
            self._cloud.close()

    def validate(self, image: str) -> Json:
        """See that the image, by id or by a name that only one has, is active, raw or qcow2, and
        safe as far as its first bytes tell: `id`, `name`, `size`, `format`.
        """
        found = self._usable(image)
        path = self._cache.path(found.id, found.disk_format)
        if path.exists():
            self._inspect(path, found)
        else:
            problem = image_head.problem(self._head(found), found.disk_format)
            if problem is not None:
                raise BadInput(f"{_label(found)} is refused: {problem}")
        return {
            "id": found.id,
            "name": found.name,
            "size": found.size,
            "format": found.disk_format,
        }

    def fetch(self, image: str, pause: Pause) -> Image:
        """The image as a file of the cache, downloaded when it is not there yet."""
        found = self._usable(image)
        with self._cache.entry(found.id, found.disk_format, pause) as entry:
            if not entry.is_complete(found.size):
                entry.fill(
                    lambda offset: self._open(found, offset),
                    size=found.size,
                    checksum=_checksum(found),
                    accept=lambda path: self._inspect(path, found),
                    what=_label(found),
                )
            made = self._inspect(entry.path, found)
        return dataclasses.replace(made, id=found.id)

    # --- inside ----------------------------------------------------------------------------------

    def _usable(self, name_or_id: str) -> Any:
        found = self._ask(f"find image {name_or_id}", lambda: self._find(name_or_id))
        if found.status in _NOT_YET:
            raise Conflict(f"{_label(found)} is {found.status}: its data are not there yet")
        if found.status != "active":
            raise BadInput(f"{_label(found)} is {found.status} and cannot be used")
        if found.disk_format not in _FORMATS or found.container_format not in _CONTAINERS:
            raise BadInput(
                f"{_label(found)} is {found.disk_format} in {found.container_format}: only raw and"
                " qcow2 in bare are used"
            )
        return found

    def _find(self, name_or_id: str) -> Any:
        try:
            return self._api.find_image(name_or_id, ignore_missing=False)
        except sdk_exceptions.NotFoundException:
            raise NotFound(
                f"no image {name_or_id}; `openstack image list` shows what there is"
            ) from None
        except sdk_exceptions.DuplicateResource:
            raise BadInput(f"more than one image is called {name_or_id}; say which by id") from None

    def _open(self, image: Any, offset: int, length: int | None = None) -> Any:
        """The answer to a GET of the image's bytes from `offset`, its body unread."""
        end = "" if length is None else str(offset + length - 1)
        ranged = offset > 0 or length is not None
        headers = {"Range": f"bytes={offset}-{end}"} if ranged else {}

        def get() -> Any:
            answer = self._api.get(
                f"/images/{image.id}/file",
                headers={"Accept": "application/octet-stream", **headers},
                stream=True,
                timeout=_STALL_S,
            )
            if answer.status_code != 416:
                sdk_exceptions.raise_from_response(answer)
            return answer

        return self._ask(f"download {_label(image)}", get)

    def _head(self, image: Any) -> bytes:
        # Glance announces the length asked for, even past the image's end, and then hangs up
        length = min(image_head.LENGTH, image.size or image_head.LENGTH)
        head = b""
        with closing(self._open(image, 0, length)) as answer, suppress(*BROKEN):
            for chunk in answer.iter_content(1 << 14):
                head += chunk
                if len(head) >= length:
                    break
        return head[:length]

    def _inspect(self, path: Any, image: Any) -> Image:
        try:
            return inspection.inspect(path)
        except BadInput as error:
            raise BadInput(f"{_label(image)} is refused: {error}") from None

    def _ask(self, doing: str, call: Any) -> Any:
        return ask("image", doing, call, idempotent=True)

    @property
    def _api(self) -> Any:
        return self._cloud.connection.image


def _label(image: Any) -> str:
    return f"image {image.name} ({image.id})" if image.name else f"image {image.id}"


def _checksum(image: Any) -> Checksum | None:
    """What the bytes must hash to: Glance's own choice of algorithm, else its old MD5."""
    if image.hash_algo and image.hash_value:
        return Checksum(str(image.hash_algo), str(image.hash_value))
    return Checksum("md5", str(image.checksum)) if image.checksum else None
