"""Credentials in a URL on the command line: `ps` shows them to everybody, so they move at once.

The process starts itself again with the URL in its environment, which only its own user may read.
Better still: set BUILDFLOW_STORE and BUILDFLOW_JOBBOARD, and give no such option.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from buildflow.redact import without_credentials

# the options whose URL may hold credentials, and the variables that serve in their stead
VARIABLES: Final = {"--store": "BUILDFLOW_STORE", "--jobboard": "BUILDFLOW_JOBBOARD"}


def concealed(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]] | None:
    """The arguments without such URLs, and the variables to set; None when there is none."""
    kept: list[str] = []
    moved: dict[str, str] = {}
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        name, equals, value = word.partition("=")
        if name in VARIABLES and (equals or waiting):
            url = value if equals else waiting.pop(0)
            if without_credentials(url) != url:
                moved[VARIABLES[name]] = url
            else:
                kept += [word] if equals else [word, url]
        else:
            kept.append(word)
    return (kept, moved) if moved else None


def conceal(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> None:
    """Start this program again when its arguments hold credentials; else return."""
    found = concealed(arguments)
    if found is None:
        return
    kept, moved = found
    again = [sys.executable, "-m", "buildflow", *kept]
    os.execve(sys.executable, again, {**environment, **moved})  # noqa: S606 - no shell is meant
