"""Settings: one frozen value, parsed at the edge, passed down. Times in seconds, sizes in MiB."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

VOLUME_ATTACH = ("qemu", "host", "auto")
VOLUME_API = ("auto", "attachments", "legacy")


def default_home() -> Path:
    """BUILDFLOW_HOME, else ~/.local/share/buildflow (XDG_DATA_HOME is respected); for root
    /var/lib/buildflow, because QEMU then runs as a user of its own, who may not enter /root.
    """
    explicit = os.environ.get("BUILDFLOW_HOME")
    if explicit:
        return Path(explicit)
    if os.geteuid() == 0:
        return Path("/var/lib/buildflow")
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "buildflow"


@dataclass(frozen=True, slots=True)
class Settings:
    """All configuration of one engine. A driver reads what concerns it.

    * `home`: store, disks and the embedded hypervisor's root.
    * `connect`: libvirt URI; None is `qemu:///embed?root=HOME/embed`.
    * `store`: SQLAlchemy URL; None is SQLite in `home`.
    * `compute_driver`, `network_driver`, `volume_driver`, `image_driver`: a name from
      drivers/registry.py or of an entry point; None chooses by `connect` and `os_cloud`.
    * `virt_type`: kvm or qemu; None lets the boot probe decide.
    * `os_cloud`, `os_service_cloud`: names in clouds.yaml.
    * `volume_api`: auto, attachments (3.44 and later) or legacy (initialize_connection/attach).
    * `volume_attach`: qemu (its own initiator), host (os-brick) or auto.
    * `hypervisor_wait_s`: how long to wait for another process to let go of the embedded root.
    * `step_timeout_s`: deadline of a step that sets none; `undo_timeout_s`: of an undo's retries.
    * `build_timeout_s`: deadline of a whole build, None for none but the steps' own.
    * `block_device_allocate_retries` (+1 polls) and `..._interval_s`: Nova's wait for a volume.
    * `vif_plugging_timeout_s`, `vif_plugging_is_fatal`: Nova's wait for ports to be ACTIVE.
    * `max_concurrent_builds`: size of the pool; `max_attempts`: hosts tried for one build.
    """

    home: Path = field(default_factory=default_home)
    connect: str | None = None
    store: str | None = None
    compute_driver: str | None = None
    network_driver: str | None = None
    volume_driver: str | None = None
    image_driver: str | None = None
    virt_type: str | None = None
    os_cloud: str | None = None
    os_service_cloud: str | None = None
    volume_api: str = "auto"
    volume_attach: str = "auto"
    hypervisor_wait_s: float = 30.0
    step_timeout_s: float = 300.0
    undo_timeout_s: float = 30.0
    build_timeout_s: float | None = None
    boot_grace_s: float = 2.0
    block_device_allocate_retries: int = 60
    block_device_allocate_retries_interval_s: float = 3.0
    vif_plugging_timeout_s: float = 300.0
    vif_plugging_is_fatal: bool = True
    max_concurrent_builds: int = 10
    max_attempts: int = 3
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def store_url(self) -> str:
        """The store's URL, SQLite in `home` unless set."""
        return self.store or f"sqlite:///{self.home / 'buildflow.sqlite'}"

    @property
    def libvirt_uri(self) -> str:
        """The hypervisor's URI, the embedded driver in `home` unless set."""
        return self.connect or f"qemu:///embed?root={self.home / 'embed'}"

    @property
    def instances_path(self) -> Path:
        """Where each instance has its directory."""
        return self.home / "instances"
