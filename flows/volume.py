"""Volumes: made, reserved, exported, marked in-use, opened on their host.

Follows nova/virt/block_device.py.

Each of Cinder's calls is an effect with its own undo. With the attachments API one delete undoes
three of them: the first undo deletes, the other two find nothing, which is success.
"""

from __future__ import annotations

from typing import Any, ClassVar

from buildflow.drivers.protocols import Json
from buildflow.engine.step import Step
from buildflow.errors import Busy, DeadlineExceeded, DriverError
from buildflow.flows.steps import EffectStep

# a volume that is on its way to being available (nova: _await_block_device_map_created)
_ON_THE_WAY = ("creating", "downloading")


class CreateVolume(EffectStep):
    """A volume made for this build, from an image, a snapshot or blank. Provides its id."""

    kind: ClassVar[str] = "volume"

    def __init__(self, name: str, spec: Json, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self.spec = spec

    def facts(self) -> Json:
        """What to make it from; our key goes into its metadata."""
        spec = {k: self.spec[k] for k in ("size", "image_id", "snapshot_id") if self.spec.get(k)}
        return {"spec": spec, "instance": self.run.id}

    def find(self, key: str, facts: Json) -> str | None:
        """By its metadata."""
        volume = self.world.volume.find_volume(key)
        return None if volume is None else str(volume["id"])

    def create(self, key: str, facts: Json) -> str:
        """Ask for it."""
        return str(self.world.volume.create_volume(key, facts["instance"], facts["spec"])["id"])

    def wait(self, key: str, facts: Json, result: Any) -> Any:
        """Until it is available: 61 polls, 3 s apart, as in Nova, both settable."""
        settings = self.run.settings
        polls = settings.block_device_allocate_retries + 1
        interval = settings.block_device_allocate_retries_interval_s
        for _ in range(polls):
            status = self.world.volume.volume_status(result)
            if status == "available":
                return result
            if status not in _ON_THE_WAY:
                raise DriverError(f"volume {result} became {status}", driver="volume")
            self.pause(interval)
        raise DeadlineExceeded(f"volume {result} available", polls * interval, driver="volume")

    def delete(self, key: str, facts: Json) -> None:
        """Find it by its metadata, delete it, see it gone."""
        volume = self.world.volume.find_volume(key)
        if volume is not None:
            self.world.volume.delete_volume(key, str(volume["id"]))


class _VolumeStep(EffectStep, abstract=True):
    """Works on one volume, while no other build of this process does."""

    def __init__(self, name: str, mountpoint: str, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self.mountpoint = mountpoint


class ReserveVolume(_VolumeStep):
    """attachments.create, or os-reserve. Provides the attachment's id."""

    kind: ClassVar[str] = "reservation"

    def facts(self, volume_id: str) -> Json:
        """Which volume, for which instance."""
        return {"volume_id": volume_id, "instance": self.run.id}

    def find(self, key: str, facts: Json) -> str | None:
        """Ask Cinder."""
        return self.world.volume.find_reservation(key, facts["volume_id"], facts["instance"])

    def create(self, key: str, facts: Json) -> str:
        """Reserve it; a shared one that another machine is just taking or leaving is waited for."""
        settings = self.run.settings
        polls_left = settings.block_device_allocate_retries
        while True:
            try:
                with self.hold(f"volume:{facts['volume_id']}"):
                    return self.world.volume.reserve(key, facts["volume_id"], facts["instance"])
            except Busy:
                if polls_left == 0:
                    raise
            polls_left -= 1
            self.pause(settings.block_device_allocate_retries_interval_s)

    def delete(self, key: str, facts: Json) -> None:
        """Unreserve it."""
        with self.hold(f"volume:{facts['volume_id']}"):
            self.world.volume.unreserve(key, facts["volume_id"], facts["instance"])


class ConnectVolume(_VolumeStep):
    """attachments.update, or os-initialize_connection. Provides connection_info, no secrets."""

    kind: ClassVar[str] = "attachment"

    def facts(self, volume_id: str, attachment_id: str, host: str) -> Json:
        """Which attachment, and to which host's connector."""
        return {
            "volume_id": volume_id,
            "attachment_id": attachment_id,
            "connector": self.on(host).connector(),
        }

    def find(self, key: str, facts: Json) -> Json | None:
        """Ask Cinder."""
        return self.world.volume.find_attachment(
            facts["attachment_id"], facts["volume_id"], facts["connector"]
        )

    def create(self, key: str, facts: Json) -> Json:
        """Have it exported."""
        with self.hold(f"volume:{facts['volume_id']}"):
            return self.world.volume.initialize_connection(
                facts["attachment_id"], facts["volume_id"], facts["connector"], self.mountpoint
            )

    def delete(self, key: str, facts: Json) -> None:
        """Take the export back."""
        with self.hold(f"volume:{facts['volume_id']}"):
            self.world.volume.terminate_connection(
                facts["attachment_id"], facts["volume_id"], facts["connector"]
            )

    def external_id(self, result: Any) -> str | None:
        """The export's name, where it has one."""
        name: str | None = result["data"].get("target_iqn") or result["data"].get("name")
        return name


class AttachVolume(_VolumeStep):
    """attachments.complete, or os-attach: the volume is in-use from here on."""

    kind: ClassVar[str] = "attached"

    def facts(self, volume_id: str, attachment_id: str, connection_info: Json) -> Json:
        """Which attachment, of which instance."""
        return {
            "volume_id": volume_id, "attachment_id": attachment_id, "instance": self.run.id,
        }  # fmt: skip

    def find(self, key: str, facts: Json) -> Json | None:
        """Ask Cinder."""
        attached = self.world.volume.find_attached(
            facts["attachment_id"], facts["volume_id"], facts["instance"]
        )
        return {"attached": True} if attached else None

    def create(self, key: str, facts: Json) -> Json:
        """Complete it."""
        self.world.volume.attach(
            facts["attachment_id"], facts["volume_id"], facts["instance"], self.mountpoint
        )
        return {"attached": True}

    def delete(self, key: str, facts: Json) -> None:
        """Mark it detached."""
        with self.hold(f"volume:{facts['volume_id']}"):
            self.world.volume.detach(facts["attachment_id"], facts["volume_id"], facts["instance"])


class ConnectHost(_VolumeStep):
    """The volume open on its host, for QEMU to use. Provides what that adds to connection_info."""

    kind: ClassVar[str] = "connection"

    def facts(self, host: str, volume_id: str, attachment_id: str, connection_info: Json) -> Json:
        """Which connection, and where."""
        return {
            "host": host,
            "volume_id": volume_id,
            "attachment_id": attachment_id,
            "connector": self.on(host).connector(),
            "connection_info": connection_info,
        }

    def find(self, key: str, facts: Json) -> Json | None:
        """Never: to open it again is what brick does after a crash, and it says where it is."""
        return None

    def create(self, key: str, facts: Json) -> Json:
        """Open it."""
        with self.hold(f"volume:{facts['volume_id']}"):
            return self.on(facts["host"]).connect_volume(
                facts["connection_info"],
                lambda: self.world.volume.connection_secrets(
                    facts["attachment_id"], facts["volume_id"], facts["connector"]
                ),
            )

    def delete(self, key: str, facts: Json) -> None:
        """Flush it and close it."""
        with self.hold(f"volume:{facts['volume_id']}"):
            self.on(facts["host"]).disconnect_volume(facts["connection_info"])

    def exists(self, key: str, facts: Json) -> bool:
        """Who has it open, QEMU itself or its host, and for how long, is the guest's business."""
        return True


class BlockDeviceInfo(Step):
    """Gathers the volumes in the documented shape. Provides `block_device_info`."""

    no_undo: ClassVar[str] = "it only gathers; each volume has its own undo"

    def __init__(self, name: str, volumes: list[Json], **kwargs: Any) -> None:
        parts = [
            f"{part}_{index}"
            for index in range(len(volumes))
            for part in ("connection_info", "device")
        ]
        super().__init__(name, provides="block_device_info", collect=parts, **kwargs)
        self.volumes = volumes

    def perform(self, **parts: Json) -> Json:
        """Exactly the keys of the documented block_device_info."""
        mapping = []
        for index, volume in enumerate(self.volumes):
            info = parts[f"connection_info_{index}"]
            data = {**info["data"], **parts[f"device_{index}"]}
            if volume["read_only"]:
                data["access_mode"] = "ro"
            mapping.append(
                {
                    "guest_format": None,
                    "boot_index": volume["boot_index"],
                    "mount_device": volume["mount_device"],
                    "connection_info": {**info, "data": data},
                    "disk_bus": None,
                    "device_type": None,
                    "delete_on_termination": volume["delete_on_termination"],
                }
            )
        root = next((m["mount_device"] for m in mapping if m["boot_index"] == 0), "/dev/vda")
        info = {
            "block_device_mapping": mapping,
            "root_device_name": root,
            "ephemerals": [],
            "swap": None,
        }
        self.run.set_info(block_device_info=info)
        return info


class GivenVolume(Step):
    """A volume that the user named. Provides its id."""

    no_undo: ClassVar[str] = "the volume is the user's"

    def __init__(self, name: str, volume_id: str, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self.volume_id = volume_id

    def perform(self) -> str:
        """Its id."""
        return self.volume_id
