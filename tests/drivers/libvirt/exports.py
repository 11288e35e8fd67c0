"""A volume exported over iSCSI with CHAP by a tgtd of the tests' own."""

import secrets
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from buildflow.drivers.protocols import Json
from tests.lab.openstack.tgt import Tgt
from tests.lab.ports import free_port


@dataclass
class Export:
    """One volume: what Cinder would say of it, and the password that must show nowhere."""

    tgt: Tgt
    port: int
    volume_id: str
    password: str

    @property
    def iqn(self) -> str:
        return f"iqn.2010-10.org.openstack:volume-{self.volume_id}"

    def connection_info(self, **changed: object) -> Json:
        """As a step keeps it: everything but the password."""
        return {
            "driver_volume_type": "iscsi",
            "serial": self.volume_id,
            "data": {
                "target_discovered": False,
                "target_portal": f"127.0.0.1:{self.port}",
                "target_iqn": self.iqn,
                "target_lun": 1,
                "volume_id": self.volume_id,
                "auth_method": "CHAP",
                "auth_username": "chap-user",
                "access_mode": "rw",
                "encrypted": False,
                **changed,
            },
        }

    def mapping(self, **changed: object) -> Json:
        """As an entry of block_device_mapping, to boot from."""
        return {
            "guest_format": None,
            "boot_index": 0,
            "mount_device": "/dev/vda",
            "connection_info": self.connection_info(**changed),
            "disk_bus": None,
            "device_type": None,
            "delete_on_termination": False,
        }


@contextmanager
def open_export(directory: Path, image: Path) -> Iterator[Export]:
    """Export a copy of `image`; daemon and copy go at the end."""
    backing = directory / "volume.raw"
    shutil.copyfile(image, backing)
    port = free_port()
    tgt = Tgt(directory, port)
    tgt.start()
    export = Export(tgt, port, str(uuid.uuid4()), secrets.token_hex(8))
    try:
        target = ("--tid", "1")
        for mode, operation, *arguments in (
            ("target", "new", *target, "--targetname", export.iqn),
            ("logicalunit", "new", *target, "--lun", "1", "-b", str(backing)),
            ("account", "new", "--user", "chap-user", "--password", export.password),
            ("account", "bind", *target, "--user", "chap-user"),
            ("target", "bind", *target, "-I", "ALL"),
        ):
            tgt._tgtadm(mode, operation, *arguments)
        yield export
    finally:
        tgt.stop()
