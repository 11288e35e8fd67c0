"""The virtual environment that OpenStack's services run in, apart from the project's own.

Their requirements are pinned by `constraints.txt` and would only collide with ours.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.lab.directories import CACHE

ENVIRONMENT = CACHE / "openstack-venv"
SERVER_FILES = Path(__file__).with_name("server")
_CONSTRAINTS = Path(__file__).with_name("constraints.txt")
_PACKAGES = ("keystone", "cinder", "neutron", "glance", "pyuwsgi", "pymysql")


def ensure_environment() -> Path:
    """Return the environment, making it if it is missing, half made or of other versions."""
    CACHE.mkdir(exist_ok=True)
    key = hashlib.sha256(_CONSTRAINTS.read_bytes() + repr(_PACKAGES).encode()).hexdigest()
    ready = ENVIRONMENT / f"ready-{key[:16]}"
    if ready.exists():
        return ENVIRONMENT
    with (CACHE / "openstack-venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if ready.exists():
            return ENVIRONMENT
        began = time.monotonic()
        print(f"OpenStack: installing into {ENVIRONMENT} (some minutes, once)", flush=True)
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        subprocess.run(
            [
                str(ENVIRONMENT / "bin/pip"), "install", "--quiet", "--disable-pip-version-check",
                "--use-pep517", "-c", str(_CONSTRAINTS), *_PACKAGES,
            ],
            check=True,
        )  # fmt: skip
        ready.touch()
        print(f"OpenStack: installed in {time.monotonic() - began:.0f} s", flush=True)
    return ENVIRONMENT
