"""How fast the failure-injection kit decides: all faults of a build, and all ordered pairs of them.

    python bench/explore.py [--scene NAME] [--workers N] [--depth 1|2] [--json]

The build has one NIC and two volumes unless a scene is named. `executed` runs are made for the
scenarios that are decided; their quotient is what pruning saves. The peer is the kit itself without
pruning: a run from start to end, timed in the same process, times the number of scenarios.

Exits 1 when singles take more than 10 s or pairs more than 120 s, when fewer than 50,000 pairs are
decided, when an edge could not be come to again, or when a rule is broken.
"""

import argparse
import json
import sys
import time
from typing import Any

from rich.console import Console

from buildflow.faults.explore import Explorer, Progress
from buildflow.faults.machines import make_scene
from buildflow.faults.play import play, reference_of

SECONDS_MAX = {1: 10.0, 2: 120.0}
SCENARIOS_MIN = {1: 1, 2: 50_000}
WHOLE_RUNS = 20


def explore(scene_name: str, depth: int, workers: int, console: Console) -> dict[str, Any]:
    """One exploration, from nothing; shows how far it has come."""
    with console.status("") as status:

        def tell(progress: Progress) -> None:
            status.update(
                f"depth {depth}: {progress.tried} edges tried, {progress.seconds:.0f} s,"
                f" {progress.violations} broken rules"
            )

        result = Explorer(make_scene(scene_name), depth=depth, workers=workers, tell=tell).run()
    return {
        "depth": depth, "scenarios": result.scenarios, "executed": result.executed,
        "pruned": result.pruned, "violations": len(result.failing), "lost": result.lost,
        "seconds": round(result.seconds, 1),
        "seconds_unpruned": round(one_whole_run(scene_name) * result.scenarios, 1),
    }  # fmt: skip


def one_whole_run(scene_name: str) -> float:
    """Seconds that a plan takes without pruning: here the one without any fault."""
    scene = make_scene(scene_name)
    reference = reference_of(scene)
    started = time.perf_counter()
    for _ in range(WHOLE_RUNS):
        play(scene, reference, ())
    return (time.perf_counter() - started) / WHOLE_RUNS


def failures(row: dict[str, Any]) -> list[str]:
    """What a row falls short of."""
    depth, found = row["depth"], []
    if row["seconds"] > SECONDS_MAX[depth]:
        found.append(f"depth {depth} takes {row['seconds']} s, not {SECONDS_MAX[depth]:.0f}")
    if row["scenarios"] < SCENARIOS_MIN[depth]:
        found.append(f"depth {depth} decides {row['scenarios']}, not {SCENARIOS_MIN[depth]}")
    found += [f"depth {depth}: {row[name]} {name}" for name in ("violations", "lost") if row[name]]
    return found


def main() -> int:
    """Measure; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scene", default="build-1n2v")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--depth", type=int, choices=(1, 2), default=2)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    console = Console(stderr=True)
    rows = [
        explore(asked.scene, depth, asked.workers, console) for depth in range(1, asked.depth + 1)
    ]
    short = [text for row in rows for text in failures(row)]
    if asked.json:
        print(json.dumps({"scene": asked.scene, "workers": asked.workers, "rows": rows}, indent=2))
    else:
        for row in rows:
            print(
                f"{asked.scene}, up to {row['depth']} faults: {row['scenarios']} scenarios decided"
                f" by {row['executed']} runs in {row['seconds']} s"
                f" (without pruning {row['seconds_unpruned']} s), {row['violations']} broken rules,"
                f" {row['lost']} undecided"
            )
    for text in short:
        print(f"explore: {text}", file=sys.stderr)
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
