"""`python in_flight.py FOLDER COUNT`: so many builds in one process, all waiting for their guests.

Prints one JSON line with the peak of its resident memory, and how much of it is there before the
first build.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path


def resident(what: str) -> float:
    """VmHWM (the peak) or VmRSS of this process, in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what):
            return round(int(line.split()[1]) / 1024, 1)
    raise RuntimeError(what)


def main(folder: Path, count: int) -> None:
    """See the module."""
    warnings.simplefilter("ignore")
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from buildflow.api import VmEngine
    from buildflow.config import Settings
    from buildflow.drivers.simulated import SimulatedWorld, drivers_of

    world = SimulatedWorld(options={"guest": "silent"})
    settings = Settings(home=folder, max_concurrent_builds=count, step_timeout_s=3600)
    with VmEngine(settings, drivers_of(world)) as engine:
        before = resident("VmRSS")
        handles = [
            engine.build(
                name=f"vm-{n}", image="cirros", volumes=[{"size": 1}], wait="console:never",
                timeout_s=3600,
            )
            for n in range(count)
        ]  # fmt: skip
        while True:
            snapshot = world.snapshot()["hosts"].get("sim1", {})
            running = sum(d["active"] for d in snapshot.get("domains", {}).values())
            if running == count:
                break
            time.sleep(1)
        peak = resident("VmHWM")
        engine.interrupt()
        ends = {handle.wait()["status"] for handle in handles}
        assert ends == {"rolled_back"}, ends
    print(
        json.dumps(
            {"peak_mb": peak, "before_mb": before, "peak_mb_at_the_end": resident("VmHWM"),
             "builds_in_flight": count}
        )
    )  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
