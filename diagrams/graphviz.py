"""SVG and PNG laid out by Graphviz instead of by us, for those who want to see a graph its way.

Not the default: Graphviz lays edges across the labels of others, and each of its versions makes
another picture. It does well with flows that are true graphs, with few results.
"""

from __future__ import annotations

import shutil
import subprocess
from enum import StrEnum
from typing import Final

from buildflow.errors import HostUnusable

_TIMEOUT_S: Final = 60.0


class Layout(StrEnum):
    """Who places the boxes and lines of an SVG or PNG."""

    OWN = "own"
    GRAPHVIZ = "graphviz"


def laid_out(dot: str, format: str) -> bytes:
    """`dot` as svg or png. Raises HostUnusable when Graphviz is missing, or gives up."""
    program = shutil.which("dot")
    if program is None:
        raise HostUnusable(
            "--layout graphviz needs Graphviz's program dot: `apt install graphviz`;"
            " without --layout nothing is needed"
        )
    try:
        done = subprocess.run(
            [program, f"-T{format}", *(["-Gdpi=144"] if format == "png" else [])],
            input=dot.encode(),
            capture_output=True,
            check=False,
            timeout=_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise HostUnusable(
            f"Graphviz has not laid this out within {_TIMEOUT_S:.0f} s: leave --layout graphviz out"
        ) from None
    if done.returncode != 0:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no word why"])[-1]
        raise HostUnusable(f"Graphviz can't lay this out: {last}")
    return done.stdout
