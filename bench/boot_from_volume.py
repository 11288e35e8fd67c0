"""What a boot from volume costs outside the services and libvirt, and what overlaps.

    python bench/boot_from_volume.py [BUILDS]

Needs root and the lab (tests/lab/openstack), which it starts, or takes from BUILDFLOW_LAB_DIR. Time
in the services is time in an HTTP request, from its first byte out to its answer's headers; libvirt
and programs are taken as bench/overhead.py takes them; all of it goes from the wall clock as one
union over all threads. What is left is ours: the engine, the store, the drivers and the clients.
Beside it stands its processor time, which a loaded machine does not stretch.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")
sys.path.insert(0, str(Path(__file__).parents[1]))

import requests  # noqa: E402

from bench.overhead import Outside  # noqa: E402
from buildflow.api import open_engine  # noqa: E402
from buildflow.config import Settings  # noqa: E402
from tests.lab.openstack import NETWORK, OpenStackLab  # noqa: E402


@contextmanager
def the_lab() -> Iterator[OpenStackLab]:
    """One that is up, or one of our own."""
    running = os.environ.get("BUILDFLOW_LAB_DIR")
    if running:
        yield OpenStackLab.attach(Path(running))
        return
    with (
        tempfile.TemporaryDirectory(prefix="bf-bench-") as folder,
        OpenStackLab(Path(folder), bridge="br-bench") as lab,
    ):
        lab.start_bridge()
        yield lab


def critical_path(row: dict[str, Any]) -> None:
    """Print how long the steps took one after the other, and how long side by side."""
    ran = [step for step in row["steps"] if step["seconds"]]
    begin = min(step["started_at"] for step in ran)
    end = max(step["finished_at"] for step in ran)
    from datetime import datetime

    wall = (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()
    total = sum(step["seconds"] for step in ran)
    print(f"2 volumes, 2 ports: {wall:.2f} s, cut from {total:.2f} s of steps")
    for step in sorted(ran, key=lambda step: step["started_at"]):
        offset = datetime.fromisoformat(step["started_at"]) - datetime.fromisoformat(begin)
        print(f"  {offset.total_seconds():6.2f} s  {step['seconds']:6.2f} s  {step['name']}")


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    adapter = requests.adapters.HTTPAdapter
    elsewhere = Outside()
    reached: dict[str, tuple[float, float]] = {}

    def points(where: str, step: str, run: Any) -> None:
        if (where, step) == ("recorded", "start"):
            reached[run.id] = time.perf_counter(), time.process_time() - elsewhere.cpu

    with the_lab() as lab, tempfile.TemporaryDirectory(prefix="bf-home-") as home:
        os.environ["OS_CLIENT_CONFIG_FILE"] = str(lab.clouds_yaml)
        tenant = lab.connect().block_storage
        settings = Settings(os_cloud="lab", os_service_cloud="labsvc", boot_grace_s=0.0)
        Path(home).chmod(0o755)

        def volume() -> str:
            made = tenant.create_volume(size=1)
            return str(tenant.wait_for_status(made, "available", interval=0.1).id)

        with (
            open_engine(home, settings=settings, points=points) as engine,
            elsewhere,
        ):
            adapter.send = elsewhere.watch(adapter.send)  # type: ignore[method-assign]
            ours: list[float] = []
            walls: list[float] = []
            processor: list[float] = []
            for number in range(count + 1):
                request = {
                    "name": f"bench-{number}",
                    "boot_volume": {"id": volume()},
                    "networks": [{"network": NETWORK}],
                    "memory_mib": 96,
                    "virt_type": "qemu",
                }
                elsewhere.spans.clear()
                began, spent = time.perf_counter(), time.process_time() - elsewhere.cpu
                row = engine.build(**request).wait()
                assert row["status"] == "complete", row["fault"]
                end, spent_then = reached[row["id"]]
                if number:  # the first opens connections and asks QEMU what it can
                    walls.append(end - began)
                    ours.append(end - began - elsewhere.seconds(began, end))
                    processor.append(spent_then - spent)
                engine.delete(row["id"]).wait()
                tenant.delete_volume(request["boot_volume"]["id"])
            print(f"boot from volume to RUNNING, {count} builds, median (worst), milliseconds")
            print(f"  in all        {statistics.median(walls) * 1e3:7.0f} ({max(walls) * 1e3:.0f})")
            for what, times in (("outside", ours), ("processor", processor)):
                print(
                    f"  {what:<13} {statistics.median(times) * 1e3:7.0f} ({max(times) * 1e3:.0f})"
                )
            volumes = [volume(), volume()]
            row = engine.build(
                name="overlap",
                boot_volume={"id": volumes[0]},
                volumes=[{"id": volumes[1]}],
                networks=[{"network": NETWORK}, {"network": NETWORK}],
                memory_mib=96,
                virt_type="qemu",
            ).wait()
            assert row["status"] == "complete", row["fault"]
            critical_path(row)
            engine.delete(row["id"]).wait()
            for each in volumes:
                tenant.delete_volume(each)


if __name__ == "__main__":
    main()
