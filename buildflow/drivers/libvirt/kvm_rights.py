"""Rights on /dev/kvm that make libvirt slow: it sees KVM as root and QEMU's user does not.

What libvirt finds out about QEMU is then never valid, and it finds it out again, for half a minute,
at every define. The rights that udev gives (root:kvm 0660) cure it.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Final

from buildflow.drivers.libvirt.qemu_user import QemuUser

KVM: Final = Path("/dev/kvm")


def hidden_from(user: QemuUser | None, device: Path = KVM) -> bool:
    """Whether `device` is there and `user`, who is another one than libvirt, may not use it."""
    if user is None:
        return False
    try:
        found = device.stat()
    except OSError:
        return False
    wanted = stat.S_IROTH | stat.S_IWOTH
    if found.st_uid == user.uid:
        wanted = stat.S_IRUSR | stat.S_IWUSR
    elif found.st_gid in user.groups:
        wanted = stat.S_IRGRP | stat.S_IWGRP
    return user.uid != 0 and found.st_mode & wanted != wanted


def cure(device: Path = KVM) -> str:
    """The command that gives it the rights that udev gives."""
    return f"chgrp kvm {device} && chmod 660 {device}"
