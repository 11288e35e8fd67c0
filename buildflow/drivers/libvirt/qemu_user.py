"""As whom QEMU runs, and whether that user can come to a path of ours."""

from __future__ import annotations

import grp
import os
import pwd
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from buildflow.drivers.libvirt.uri import Kind, Target

# what distributions build into libvirt as QEMU's user
_BUILT_IN: Final = ("libvirt-qemu", "qemu")
_SETTING: Final = re.compile(r'^\s*user\s*=\s*"\+?([^"]+)"', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class QemuUser:
    """A user by number, with the groups that it has."""

    name: str
    uid: int
    groups: frozenset[int]

    def first_closed(self, path: Path) -> Path | None:
        """The first directory on the way to `path` that this user may not enter, None when the
        way is open.
        """
        if self.uid == 0:
            return None
        for directory in reversed(path.parents):
            try:
                found = directory.stat()
            except FileNotFoundError:
                return None  # not made yet: whoever makes it decides
            if found.st_uid == self.uid:
                bit = stat.S_IXUSR
            elif found.st_gid in self.groups:
                bit = stat.S_IXGRP
            else:
                bit = stat.S_IXOTH
            if not found.st_mode & bit:
                return directory
        return None

    @property
    def gid(self) -> int:
        """The user's own group."""
        return pwd.getpwuid(self.uid).pw_gid


def qemu_user(target: Target) -> QemuUser | None:
    """QEMU's user, None when it is ourselves or on another host or unknown."""
    if not (target.privileged and target.local):
        return None
    if target.kind is Kind.EMBED:
        assert target.root is not None
        conf = target.root / "etc" / "qemu.conf"
    else:
        conf = Path("/etc/libvirt/qemu.conf")
    try:
        found = _SETTING.search(conf.read_text())
    except OSError:
        found = None  # only root may read the host's qemu.conf
    for name in [found[1]] if found else _BUILT_IN:
        try:
            entry = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid == os.geteuid():
            return None
        groups = {entry.pw_gid, *(g.gr_gid for g in grp.getgrall() if entry.pw_name in g.gr_mem)}
        return QemuUser(entry.pw_name, entry.pw_uid, frozenset(groups))
    return None
