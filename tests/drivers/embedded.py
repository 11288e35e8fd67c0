"""The one embedded hypervisor of a test process.

A process can hold one embedded root, ever, and holds it until it ends; so all tests that open one
in the process of pytest share this one. Each may have a home of its own beside it.
"""

import atexit
import functools
import os
import shutil
import tempfile
from pathlib import Path


@functools.cache
def shared_uri() -> str:
    """The URI of this process's embedded hypervisor; its directory goes when the process ends."""
    root = Path(tempfile.mkdtemp(prefix="bf-embed-"))
    root.chmod(0o755)
    atexit.register(_remove, root, os.getpid())
    return f"qemu:///embed?root={root}"


def _remove(root: Path, owner: int) -> None:
    if os.getpid() == owner:  # not a child that was forked and ended
        shutil.rmtree(root, ignore_errors=True)
