"""Programs and packages: QEMU, qemu-img, libvirt, and what single features need."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import subprocess

from buildflow.config import Settings
from buildflow.drivers.doctor.check import CheckResult, bad, ok, warn


def qemu(settings: Settings) -> CheckResult:
    """The emulator for this host's architecture."""
    program = f"qemu-system-{platform.machine()}"
    found = shutil.which(program)
    if found is None:
        return bad("qemu", f"{program} is not installed", "apt-get install qemu-system-x86")
    return ok("qemu", _version(found))


def qemu_img(settings: Settings) -> CheckResult:
    """What makes disks."""
    found = shutil.which("qemu-img")
    if found is None:
        return bad("qemu-img", "qemu-img is not installed", "apt-get install qemu-utils")
    return ok("qemu-img", _version(found))


def libvirt_binding(settings: Settings) -> CheckResult:
    """libvirt's library and its Python binding."""
    if importlib.util.find_spec("libvirt") is None:
        return bad(
            "libvirt",
            "the Python binding is not installed",
            "apt-get install libvirt-dev pkg-config gcc python3-dev && pip install libvirt-python",
        )
    from buildflow.drivers.libvirt import binding

    number = binding.load().getVersion()
    return ok("libvirt", f"libvirt {number // 10**6}.{number // 1000 % 1000}.{number % 1000}")


def block_drivers(settings: Settings) -> CheckResult:
    """QEMU's own initiators, for volumes."""
    from buildflow.drivers.libvirt import qemu_modules

    absent = [p for p in ("iscsi", "rbd", "nfs") if qemu_modules.missing(p) is not None]
    if absent:
        return warn(
            "block drivers",
            f"QEMU has no driver for {', '.join(absent)} volumes",
            "apt-get install qemu-block-extra",
        )
    return ok("block drivers", "QEMU opens iscsi, rbd, nbd and nfs volumes by itself")


def os_brick(settings: Settings) -> CheckResult:
    """os-brick and open-iscsi, for volumes that the host connects."""
    if importlib.util.find_spec("os_brick") is None:
        return bad("os-brick", "os-brick is not installed", "pip install 'buildflow-vm[brick]'")
    if shutil.which("iscsiadm") is None:
        return warn(
            "os-brick", "os-brick is there, the host has no iSCSI initiator",
            "apt-get install open-iscsi, or set volume_attach to qemu",
        )  # fmt: skip
    return ok("os-brick", "os-brick and an iSCSI initiator are there")


def graphviz(settings: Settings) -> CheckResult:
    """What draws diagrams as svg and png."""
    if shutil.which("dot") is None:
        return warn(
            "graphviz",
            "`dot` is not installed: diagrams as text, mermaid and dot only",
            "apt-get install graphviz",
        )
    return ok("graphviz", "diagrams can be drawn as svg and png")


def tgt(settings: Settings) -> CheckResult:
    """The iSCSI target that the lab's Cinder exports with."""
    if shutil.which("tgtd", path="/usr/sbin:/sbin:/usr/bin:/bin") is None:
        return warn("tgt", "tgtd is not installed: the lab's Cinder cannot run",
                    "apt-get install tgt")  # fmt: skip
    return ok("tgt", "the lab's Cinder can export volumes")


def _version(program: str) -> str:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    first = done.stdout.splitlines()[:1] or [program]
    return f"{first[0]} ({program})"
