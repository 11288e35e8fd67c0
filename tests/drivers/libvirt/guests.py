"""Guests of driver tests: made through a driver, waited for by their console, removed whole."""

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from buildflow.drivers.protocols import ComputeDriver, GuestSpec, Image, Json

READY = b"BUILDFLOW-GUEST-READY"


class Guest:
    """One guest, and the steps of its life in the order of the build flow."""

    def __init__(
        self,
        driver: ComputeDriver,
        image: Image | None,
        *,
        name: str | None = None,
        ports: Sequence[Json] = (),
        volumes: Sequence[Json] = (),
        secrets: dict[str, str] | None = None,
        memory_mib: int = 96,
    ) -> None:
        self.driver, self.uuid = driver, str(uuid.uuid4())
        self.name = name or f"guest-{self.uuid[:8]}"
        self.directory = driver.create_directory(self.uuid)
        self.disk: str | None = None
        if image is not None:
            self.disk = driver.create_disk(self.uuid, self.directory, image, None)
        self.spec = GuestSpec(
            uuid=self.uuid,
            name=self.name,
            memory_mib=memory_mib,
            vcpus=1,
            virt_type="qemu",
            directory=self.directory,
            root_disk=self.disk,
            root_disk_format="qcow2",
            network_info=list(ports),
            block_device_info={
                "root_device_name": "/dev/vda",
                "block_device_mapping": list(volumes),
                "ephemerals": [],
                "swap": None,
            },
            secrets=secrets or {},
        )

    @property
    def xml(self) -> str:
        return self.driver.to_xml(self.spec)

    def start(self) -> None:
        self.driver.define_domain(self.uuid, self.xml)
        self.driver.start_domain(self.uuid)

    def wait_for(self, text: bytes = READY, seconds: float = 150) -> bytes:
        """The whole console once `text` and the line after it are there."""
        deadline = time.monotonic() + seconds
        console, offset = b"", 0
        while text not in console or b"\n" not in console.split(text, 1)[1]:
            assert time.monotonic() < deadline, f"no {text!r} in {console[-2000:]!r}"
            data, offset = self.driver.console(self.uuid, offset)
            console += data
            time.sleep(0.05)
        return console

    def remove(self) -> None:
        self.driver.destroy_domain(self.uuid)
        self.driver.undefine_domain(self.uuid)
        self.driver.delete_directory(self.uuid)


@contextmanager
def open_guest(make: Callable[[], Guest]) -> Iterator[Guest]:
    """The guest that `make` makes, removed at the end."""
    guest = make()
    try:
        yield guest
    finally:
        guest.remove()


def command_line(uuid: str) -> bytes:
    """The arguments of the QEMU that runs the guest `uuid`."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                arguments = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"qemu" in arguments.split(b"\0")[0] and uuid.encode() in arguments.split(b"\0"):
                return arguments
    return b""
