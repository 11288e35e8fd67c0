"""Makes the three drivers, which share one cloud as long as any of them is open."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Final

from buildflow.config import Settings
from buildflow.drivers.openstack.cinder import CinderVolumes
from buildflow.drivers.openstack.glance import GlanceImages
from buildflow.drivers.openstack.neutron import NeutronPorts
from buildflow.drivers.openstack.session import Cloud

Say = Callable[[str], None]
_Identity = tuple[object, ...]

_lock: Final = threading.Lock()
_clouds: Final[dict[_Identity, tuple[Cloud, int]]] = {}


class SharedCloud(Cloud):
    """A cloud that is closed when the last of its drivers is."""

    def __init__(self, settings: Settings, identity: _Identity) -> None:
        super().__init__(settings)
        self._identity = identity

    def close(self) -> None:
        """One driver less."""
        with _lock:
            cloud, users = _clouds.get(self._identity, (self, 1))
            if cloud is self and users > 1:
                _clouds[self._identity] = (self, users - 1)
                return
            if cloud is self:
                _clouds.pop(self._identity, None)
        super().close()


def volume(settings: Settings, say: Say) -> CinderVolumes:
    """Cinder."""
    return CinderVolumes(settings, cloud=_shared(settings), owns_cloud=True)


def network(settings: Settings, say: Say) -> NeutronPorts:
    """Neutron."""
    return NeutronPorts(settings, cloud=_shared(settings), owns_cloud=True)


def image(settings: Settings, say: Say) -> GlanceImages:
    """Glance."""
    return GlanceImages(settings, cloud=_shared(settings), owns_cloud=True)


def _shared(settings: Settings) -> Cloud:
    """The open cloud of these credentials, or a new one. OS_* is part of what they are."""
    environment = tuple(sorted((k, v) for k, v in os.environ.items() if k.startswith("OS_")))
    role = settings.extra.get("service_token_role")
    identity: _Identity = (settings.os_cloud, settings.os_service_cloud, role, environment)
    with _lock:
        cloud, users = _clouds.get(identity, (None, 0))
        shared = cloud or SharedCloud(settings, identity)
        _clouds[identity] = (shared, users + 1)
        return shared
