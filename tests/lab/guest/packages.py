"""Debian packages, downloaded and unpacked but never installed: no root, an unchanged host.

Unpacking a kernel package, for example, runs none of its scripts and touches no boot loader.
"""

import os
import shutil
import subprocess
from pathlib import Path


class PackageError(Exception):
    """A package could not be had; the message says which and what apt answered."""


def kernel_package() -> str:
    """The package of the newest kernel for virtual machines: linux-image-VERSION-cloud-amd64."""
    answer = _run(["apt-cache", "depends", "linux-image-cloud-amd64"])
    for line in answer.splitlines():
        kind, _, name = line.strip().partition(": ")
        if kind == "Depends":
            return name
    raise PackageError("apt knows no linux-image-cloud-amd64: run `apt-get update` first")


def download(names: list[str], cache: Path) -> dict[str, Path]:
    """Return the .deb of each package, downloading into `cache` what it does not hold yet."""
    cache.mkdir(parents=True, exist_ok=True)
    missing = [name for name in names if not list(cache.glob(f"{name}_*.deb"))]
    if missing:
        # Into a directory of its own, then renamed: a killed download leaves no half package.
        incoming = cache / f"incoming-{os.getpid()}"
        incoming.mkdir()
        try:
            _run(["apt-get", "-qq", "download", *missing], cwd=incoming)
            for deb in incoming.glob("*.deb"):
                deb.replace(cache / deb.name)
        finally:
            shutil.rmtree(incoming)
    found: dict[str, Path] = {}
    for name in names:
        debs = sorted(cache.glob(f"{name}_*.deb"))
        if not debs:
            raise PackageError(f"apt-get download {name} gave no package")
        found[name] = debs[-1]
    return found


def unpack(debs: list[Path], root: Path) -> None:
    """Unpack the packages' files below `root`."""
    root.mkdir(parents=True, exist_ok=True)
    for deb in debs:
        _run(["dpkg", "-x", str(deb), str(root)])


def _run(command: list[str], cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PackageError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
    return done.stdout
