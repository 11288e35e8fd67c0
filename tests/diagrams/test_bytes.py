"""The same input gives the same bytes: for any hash seed, in any process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_PROGRAM = """
import hashlib
from buildflow.diagrams import draw
from buildflow.diagrams.diff.sources import current, dump
from buildflow.diagrams.report import report
from buildflow.flows.build import build_flow
from tests.diagrams.samples import diamond, small_flow
import json, pathlib
build = json.loads(pathlib.Path({build!r}).read_text())
found = hashlib.sha256()
for kind in ("call", "flow", "states", "timeline"):
    for format in ("text", "mermaid", "dot", "svg", "json"):
        for flow in (build_flow(volumes=[{{}}] * 12, networks=[{{}}] * 3), small_flow(), diamond()):
            found.update(draw(kind, format=format, flow=flow))
        found.update(draw(kind, format=format, build=build))
found.update(draw("states", machine="joint", format="json"))
found.update(report(build).encode())
found.update(json.dumps(dump(current())).encode())
print(found.hexdigest())
"""


def test_hash_seeds_change_nothing(tmp_path: Path) -> None:
    import json

    from buildflow.diagrams.example import example_build

    build = tmp_path / "build.json"
    build.write_text(json.dumps(example_build()), encoding="utf-8")
    program = _PROGRAM.format(build=str(build))
    running = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("0", "1", "31337")
    ]
    digests = {process.communicate(timeout=300)[0] for process in running}
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(digests) == 1


def test_the_example_build_is_the_same_every_time() -> None:
    from buildflow.diagrams import draw
    from buildflow.diagrams.example import example_build

    first, second = example_build(), example_build()
    for kind in ("call", "flow", "timeline"):
        assert draw(kind, build=first, format="svg") == draw(kind, build=second, format="svg")
