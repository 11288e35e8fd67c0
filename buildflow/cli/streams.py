"""Our stdout and stderr, whose reader may go away before we end."""

from __future__ import annotations

import os
import sys
from contextlib import suppress


def let_go_of_closed_streams() -> None:
    """Point stdout and stderr at nothing where their reader has gone.

    Otherwise Python would try again when it ends, and change our exit code to say so.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
