"""Whole builds on a real OpenStack and a real hypervisor, and the judge of what they leave."""

from __future__ import annotations

import shutil
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from buildflow.api import VmEngine, open_engine
from buildflow.config import Settings
from buildflow.engine.run import Run
from tests.drivers.openstack.witness import Witness
from tests.lab.openstack import NETWORK, OpenStackLab

Row = dict[str, Any]
# called at each of the engine's points with (where, step, run): fails by raising
Fault = Callable[[str, str, Run], None]

PATIENCE_S = 300.0  # of a test, for a machine that does much else
READY = "console:BUILDFLOW-GUEST-READY"


def at(where: str, step: str, do: Callable[[], None], times: int = 1) -> Fault:
    """A fault that strikes when `step` comes to `where`, so many times; -1 is always."""
    left = [times]
    lock = threading.Lock()

    def fault(here: str, subject: str, run: Run) -> None:
        with lock:
            if (here, subject) != (where, step) or left[0] == 0:
                return
            left[0] -= 1
        do()

    return fault


def together(where: str, step: str, builds: int = 2) -> Fault:
    """No fault: so many builds go on from there at the same moment."""
    barrier = threading.Barrier(builds, timeout=60)

    def fault(here: str, subject: str, run: Run) -> None:
        if (here, subject) == (where, step):
            barrier.wait()

    return fault


def both(*faults: Fault) -> Fault:
    """Several faults in one."""

    def fault(where: str, step: str, run: Run) -> None:
        for each in faults:
            each(where, step, run)

    return fault


def raising(error: BaseException) -> Callable[[], None]:
    """What raises an error."""

    def do() -> None:
        raise error

    return do


class Bed:
    """A home, the lab, and volumes and ports that go when the test does."""

    def __init__(self, lab: OpenStackLab, witness: Witness, home: Path, uri: str | None) -> None:
        self.lab, self.witness, self.home = lab, witness, home
        self.settings = Settings(
            home=home,
            connect=uri,
            os_cloud="lab",
            os_service_cloud="labsvc",
            boot_grace_s=0.5,
            undo_timeout_s=5.0,
            block_device_allocate_retries_interval_s=0.3,
        )
        self.engines: list[VmEngine] = []
        self.volumes: list[str] = []
        self.before = frozenset(witness.all_volumes())

    # --- what a test asks for --------------------------------------------------------------------

    def engine(self, fault: Fault | None = None, **changes: Any) -> VmEngine:
        """An engine on the lab; it is closed after the test."""
        options: Row = {}
        if "world" in changes:
            options["world"] = changes.pop("world")
        engine = open_engine(settings=replace(self.settings, **changes), points=fault, **options)
        self.engines.append(engine)
        return engine

    def request(self, **fields: Any) -> Row:
        """A small machine from a volume of its own with a NIC, and whatever `fields` change."""
        asked: Row = {
            "name": f"m-{uuid.uuid4().hex[:8]}",
            "memory_mib": 96,
            "networks": [{"network": NETWORK}],
            "virt_type": "qemu",
            "wait": "power",
            "timeout_s": 60.0,
        }
        if "boot_volume" not in fields and "image" not in fields:
            asked["boot_volume"] = {"id": self.blank_volume()}
        return {**asked, **fields}

    def build(
        self, fault: Fault | None = None, engine: VmEngine | None = None, **fields: Any
    ) -> Row:
        """One build to its end; settings among `fields` are the engine's."""
        names = set(Settings.__dataclass_fields__) & set(fields)
        changes = {name: fields.pop(name) for name in names}
        runner = engine or self.engine(fault, **changes)
        row: Row = runner.build(**self.request(**fields)).wait(PATIENCE_S)
        return row

    def blank_volume(self, **attributes: Any) -> str:
        """A volume of the tenant's without an operating system."""
        self.volumes.append(self.witness.new_volume(**attributes))
        return self.volumes[-1]

    def boot_volume(self, image_id: str) -> str:
        """A volume of the tenant's made from an image."""
        return self.blank_volume(imageRef=image_id)

    # --- what there is ---------------------------------------------------------------------------

    def nothing_is_left(
        self, row: Row, *, kept_ports: int = 0, look_at_hypervisor: bool = True
    ) -> None:
        """Assert that of this build nothing is left anywhere, and that its record says so."""
        assert row["residue"] == [], row["residue"]
        states = {effect["kind"]: effect["state"] for effect in row["effects"]}
        assert set(states.values()) <= {"undone"}, states
        for volume_id in self.volumes:
            self.witness.is_untouched(volume_id)
        assert set(self.witness.all_volumes()) - self.before == set(self.volumes)
        assert len(self.witness.ports()) == kept_ports
        assert self.witness.attachments_of(row["id"]) == []
        assert not self.is_running(row["id"])
        if look_at_hypervisor:
            assert self.domain(row["id"]) is None
        assert files_below(self.home / "instances") == []
        assert files_below(self.home / "secrets") == []
        assert self.taps() == []

    def rolled_back(self, row: Row, *, kept_ports: int = 0) -> None:
        """Assert that a build failed and that nothing is left."""
        assert row["status"] == "rolled_back", (row["status"], row["fault"], row["residue"])
        assert (row["vm_state"], row["task_state"], row["power_state"]) == ("error", None, 0)
        self.nothing_is_left(row, kept_ports=kept_ports)

    def is_up(self, row: Row) -> None:
        """Assert that a build is complete, in our record and in the world's."""
        assert row["status"] == "complete", (row["status"], row["fault"], row["residue"])
        assert (row["vm_state"], row["task_state"], row["power_state"]) == ("active", None, 1)
        for mapping in row["block_device_info"]["block_device_mapping"]:
            volume_id = mapping["connection_info"]["serial"]
            assert self.witness.status(volume_id) == "in-use"
            [attached] = self.witness.attachments(volume_id)
            assert attached["instance"] == row["id"]
            assert self.lab.tgt.target_of(volume_id) is not None
        for vif in row["network_info"]:
            port = self.witness.port(vif["id"])
            assert port.status == "ACTIVE"
            assert port.device_id == row["id"]
        assert self.is_running(row["id"])
        assert files_below(self.home / "secrets") == []

    def taps(self) -> list[str]:
        """What is plugged into the lab's bridge."""
        members = Path("/sys/class/net", self.lab.bridge.name, "brif")
        return sorted(path.name for path in members.iterdir())

    def domain(self, build: str) -> Any:
        """The domain as the hypervisor reports it."""
        compute = next(iter(self.engines[-1].world.computes.values()))
        return compute.find_domain(build)

    @staticmethod
    def is_running(build: str) -> bool:
        """Whether a QEMU stands behind it."""
        return any(build in line for line in command_lines())

    def remove(self) -> None:
        """Undo what the test has left, by our own means and then by the services'."""
        self.lab.restore()
        for engine in self.engines:
            engine.close(cancel=True)
        with open_engine(settings=replace(self.settings, undo_timeout_s=10.0)) as engine:
            for handle in engine.resume(revert=True):
                handle.wait(60)
            for handle in engine.cleanup():
                handle.wait(60)
            for row in engine.list():
                if row["status"] == "complete":
                    engine.delete(row["id"]).wait(60)
        for volume_id in {*self.volumes, *self.witness.all_volumes()} - self.before:
            self.witness.remove_volume(volume_id)
        for port in self.witness.ports():
            self.witness.remove_port(port.id)
        shutil.rmtree(self.home, ignore_errors=True)


def command_lines() -> list[str]:
    """What all processes were started with."""
    lines = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(entry.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return [line for line in lines if line.startswith(("/usr/bin/qemu-system", "qemu-system"))]


def files_below(folder: Path) -> list[str]:
    """Everything in a folder, by name."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """Wait, with a deadline."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"no {what} within {seconds:g} s"
        time.sleep(0.05)
