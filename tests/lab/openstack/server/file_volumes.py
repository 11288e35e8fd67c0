# mypy: ignore-errors
"""A Cinder back end whose volumes are sparse files, exported over iSCSI with CHAP by tgtd.

It needs no LVM, no device-mapper and no root helper. Which tgtd it speaks to is TGT_IPC_SOCKET.
"""

import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

from cinder import context as cinder_context
from cinder import exception, interface
from cinder.image import image_utils
from cinder.volume import configuration, driver, volume_utils
from cinder.volume.targets import iscsi
from oslo_config import cfg

OPTIONS = [
    cfg.StrOpt("file_volumes_dir", help="Where the volumes' files are."),
    cfg.IntOpt("file_volumes_capacity_gb", default=10000, help="What is said to fit."),
]
cfg.CONF.register_opts(OPTIONS, group=configuration.SHARED_CONF_GROUP)


def _tgtadm(mode, operation, *arguments):
    """Run tgtadm and return its exit code, output and errors."""
    command = ["tgtadm", "--lld", "iscsi", "--mode", mode, "--op", operation, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr.strip()


class TgtTarget(iscsi.ISCSITarget):
    """As Cinder's own TgtAdm, but through tgtadm directly: no files below /etc/tgt."""

    _lock = threading.RLock()

    def create_iscsi_target(self, name, tid, lun, path, chap_auth=None, **kwargs):
        """Export a file; an export of that name that exists already will do."""
        with self._lock:
            present = self._targets()
            if name in present:
                return present[name]
            number = max(present.values(), default=0) + 1
            target = ("--tid", str(number))
            steps = [
                ("target", "new", *target, "-T", name),
                ("logicalunit", "new", *target, "--lun", str(lun), "-b", path),
            ]
            if chap_auth:
                user, password = chap_auth
                # tgtd keeps the account of a target that was deleted.
                _tgtadm("account", "delete", "--user", user)
                steps += [
                    ("account", "new", "--user", user, "--password", password),
                    ("account", "bind", *target, "--user", user),
                ]
            steps.append(("target", "bind", *target, "-I", "ALL"))
            for step in steps:
                code, _, error = _tgtadm(*step)
                if code:
                    _tgtadm("target", "delete", "--force", *target)
                    raise exception.ISCSITargetCreateFailed(volume_id=f"{name} ({error})")
            return number

    def remove_iscsi_target(self, tid, lun, vol_id, vol_name, **kwargs):
        """Remove an export with its sessions and its account."""
        name = f"{self.iscsi_target_prefix}{vol_name}"
        with self._lock:
            number = self._targets().get(name)
            if number is None:
                return
            code, _, _ = _tgtadm("target", "delete", "--force", "--tid", str(number))
            if code:
                raise exception.ISCSITargetRemoveFailed(volume_id=vol_id)
            chap = self._get_target_chap_auth(cinder_context.get_admin_context(), {"id": vol_id})
            if chap:
                _tgtadm("account", "delete", "--user", chap[0])

    def check(self):
        """Raise unless tgtd answers."""
        self._targets()

    def _targets(self):
        code, out, error = _tgtadm("target", "show")
        if code:
            raise exception.VolumeDriverException(message=f"tgtadm show: {error}")
        return {
            match.group(2): int(match.group(1))
            for match in re.finditer(r"^Target (\d+): (\S+)", out, re.MULTILINE)
        }

    def _get_target(self, iqn):
        return self._targets().get(iqn)

    def _get_iscsi_target(self, context, vol_id):
        return 0

    def _get_target_and_lun(self, context, volume):
        return 0, 1

    def terminate_connection(self, volume, connector, **kwargs):
        """Nothing is kept per connection."""


@interface.volumedriver
class FileVolumeDriver(driver.VolumeDriver):
    """One sparse file a volume or snapshot."""

    VERSION = "1.0"
    CI_WIKI_NAME = "none"

    def __init__(self, *args, **kwargs):
        """Read the back end's options."""
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(OPTIONS)
        self.backend_name = self.configuration.safe_get("volume_backend_name") or "file"
        self.directory = Path(self.configuration.safe_get("file_volumes_dir"))
        self.target_driver = TgtTarget(configuration=self.configuration)
        self.protocol = self.target_driver.protocol

    def do_setup(self, context):
        """Make the directory."""
        self.directory.mkdir(parents=True, exist_ok=True)

    def check_for_setup_error(self):
        """Refuse to start without tgtd."""
        self.target_driver.check()

    def local_path(self, volume):
        """The file of a volume or snapshot."""
        return str(self._file(volume))

    def create_volume(self, volume):
        """Make an empty sparse file."""
        with self._file(volume).open("wb") as made:
            made.truncate(volume["size"] << 30)

    def delete_volume(self, volume):
        """Remove the export and the file; neither need exist."""
        self.remove_export(None, volume)
        self._file(volume).unlink(missing_ok=True)

    def create_cloned_volume(self, volume, src_vref):
        """Copy a volume."""
        self._copy(src_vref, volume, volume["size"])

    def create_snapshot(self, snapshot):
        """Copy a volume's present content."""
        self._copy(snapshot["volume"], snapshot, 0)

    def delete_snapshot(self, snapshot):
        """Remove the copy."""
        self._file(snapshot).unlink(missing_ok=True)

    def create_volume_from_snapshot(self, volume, snapshot):
        """Copy a snapshot."""
        self._copy(snapshot, volume, volume["size"])

    def extend_volume(self, volume, new_size):
        """Make the file longer."""
        self._grow(volume, new_size)

    def copy_image_to_volume(self, context, volume, image_service, image_id, disable_sparse=False):
        """Fill a volume from a Glance image."""
        path, size = self.local_path(volume), volume["size"]
        image_utils.fetch_to_raw(
            context, image_service, image_id, path, "1M", size=size, run_as_root=False
        )
        self._grow(volume, size)

    def copy_volume_to_image(self, context, volume, image_service, image_meta):
        """Make a Glance image of a volume."""
        volume_utils.upload_volume(
            context, image_service, image_meta, self.local_path(volume), volume, run_as_root=False
        )

    def clone_image(self, context, volume, image_location, image_meta, image_service):
        """There is no shorter way from an image to a volume than copying it."""
        return None, False

    def ensure_export(self, context, volume):
        """Export again what was exported before this service, or tgtd, was started again."""
        self.target_driver.ensure_export(context, volume, self.local_path(volume))

    def create_export(self, context, volume, connector, vg=None):
        """Export a volume with a CHAP account of its own."""
        made = self.target_driver.create_export(context, volume, self.local_path(volume))
        return {"provider_location": made["location"], "provider_auth": made["auth"]}

    def remove_export(self, context, volume):
        """Take the export back."""
        self.target_driver.remove_export(context, volume)

    def validate_connector(self, connector):
        """Refuse a connector without an initiator name."""
        return self.target_driver.validate_connector(connector)

    def initialize_connection(self, volume, connector):
        """Say how to reach the export."""
        return self.target_driver.initialize_connection(volume, connector)

    def terminate_connection(self, volume, connector, **kwargs):
        """Say whether someone else still uses the same export."""
        attachments = volume.volume_attachment
        if connector is not None and volume.multiattach:
            same = self.target_driver.are_same_connector
            return sum(bool(a.connector and same(a.connector, connector)) for a in attachments) > 1
        return len(attachments) > 1

    def _copy(self, source, destination, size_gb):
        paths = [self.local_path(source), self.local_path(destination)]
        command = ["cp", "--sparse=always", "--reflink=auto", *paths]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise exception.VolumeDriverException(message=done.stderr)
        self._grow(destination, size_gb)

    def _file(self, volume):
        return self.directory / volume["name"]

    def _grow(self, volume, size_gb):
        """Make a file as long as the volume, if it is shorter."""
        if self._file(volume).stat().st_size < size_gb << 30:
            os.truncate(self._file(volume), size_gb << 30)

    def _update_volume_stats(self):
        capacity = self.configuration.safe_get("file_volumes_capacity_gb")
        if shutil.disk_usage(self.directory).free < 1 << 30:
            capacity = 0
        self._stats = {
            "volume_backend_name": self.backend_name,
            "vendor_name": "buildflow lab",
            "driver_version": self.VERSION,
            "storage_protocol": "iSCSI",
            "pools": [
                {
                    "pool_name": self.backend_name,
                    "total_capacity_gb": capacity,
                    "free_capacity_gb": capacity,
                    "provisioned_capacity_gb": 0,
                    "max_over_subscription_ratio": "20.0",
                    "thin_provisioning_support": True,
                    "thick_provisioning_support": False,
                    "reserved_percentage": 0,
                    "multiattach": True,
                    "QoS_support": False,
                }
            ],
        }
