"""KVM: its rights, which can slow every define down to half a minute, and whether it works."""

from __future__ import annotations

import os
import stat

from buildflow.config import Settings
from buildflow.drivers.doctor.check import CheckResult, ok, warn
from buildflow.drivers.libvirt import kvm_rights, uri
from buildflow.drivers.libvirt.kvm_rights import KVM
from buildflow.drivers.libvirt.qemu_user import qemu_user
from buildflow.drivers.registry import open_driver

_NAME = "kvm"
_RIGHTS = "kvm rights"


def rights(settings: Settings) -> CheckResult:
    """libvirt probes as root and checks as QEMU's user: where these see /dev/kvm differently, what
    it found is never valid, and it probes again for every domain.
    """
    if not KVM.exists():
        return ok(_RIGHTS, f"this host has no {KVM}: guests are emulated")
    user = qemu_user(uri.parse(settings.libvirt_uri))
    found = KVM.stat()
    seen = f"{KVM} is {stat.filemode(found.st_mode)} {found.st_uid}:{found.st_gid}"
    if user is None:
        can = os.access(KVM, os.R_OK | os.W_OK)
        return ok(_RIGHTS, f"{seen}; QEMU runs as you, who may {'' if can else 'not '}use it")
    if not kvm_rights.hidden_from(user):
        return ok(_RIGHTS, f"{seen}; {user.name} may use it")
    return warn(
        _RIGHTS,
        f"{seen}; libvirt sees KVM and {user.name} does not: each define takes 30 s and more",
        kvm_rights.cure(),
    )


def works(settings: Settings) -> CheckResult:
    """Boots a probe with KVM, unless that was done since the host booted."""
    from buildflow.drivers.libvirt.virt_type import kvm_probe_result

    if settings.virt_type is not None:
        return ok(_NAME, f"virt type {settings.virt_type} is set: nothing is probed")
    if not KVM.exists():
        return warn(_NAME, "no KVM: guests are emulated, several times slower",
                    "enable virtualisation in the firmware, or nested virtualisation on the host of"
                    " this one")  # fmt: skip
    driver = open_driver("compute", settings)
    try:
        chosen = driver.virt_type(None)
    finally:
        driver.close()
    if chosen == "kvm":
        return ok(_NAME, "a guest has booted with KVM")
    result = kvm_probe_result(settings.home, settings.libvirt_uri) or {}
    return warn(
        _NAME,
        f"KVM is listed and does not work ({result.get('why') or 'nothing was learnt'}):"
        " guests are emulated",
        "repair KVM, or `--virt-type kvm` to use it all the same",
    )
