"""The directory that the embedded QEMU driver lives in: its settings and its short name.

libvirt makes UNIX sockets under the root, and the kernel allows 107 bytes for a socket's path, so a
root with a long path is reached through a short symbolic link.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final
from urllib.parse import quote

from buildflow.drivers.libvirt import short_path
from buildflow.errors import HostUnusable

# ROOT/lib/qemu/domain-ID-NAME/monitor.sock, where ID has up to six digits and NAME twenty letters
_LONGEST_BELOW_ROOT: Final = len("/lib/qemu/domain-123456-") + 20 + len("/monitor.sock")
_SOCKET_PATH_LIMIT: Final = 107

# No virtlogd runs beside an embedded driver, so QEMU writes its console log itself.
_QEMU_CONF: Final = """\
# Written by buildflow when it made this embedded hypervisor; edit as you like, it is not rewritten.
stdio_handler = "file"
# Disks are given to QEMU's user when they are made; the images below them stay as they are.
dynamic_ownership = 0
# Control groups are named after a guest's number and name, which other hypervisors have too.
cgroup_controllers = []
"""


def prepare(root: Path) -> str:
    """Make `root` with its qemu.conf when it is new; returns the URI to open it by.

    Raises HostUnusable when it cannot be made.
    """
    conf = root / "etc" / "qemu.conf"
    try:
        if not conf.exists():
            conf.parent.mkdir(parents=True, exist_ok=True)
            part = conf.with_name(f".qemu.conf.{os.getpid()}")
            part.write_text(_QEMU_CONF)
            part.replace(conf)
        elif not os.access(conf.parent, os.W_OK):
            raise PermissionError(f"{root} belongs to another user")
    except OSError as error:
        raise HostUnusable(f"the embedded hypervisor cannot live in {root}: {error}") from error
    path = reached_by(root)
    if path != root:
        short_path.ensure(root)
    return f"qemu:///embed?root={quote(str(path))}"


def reached_by(root: Path) -> Path:
    """The path by which libvirt knows `root`: its own, or a short name for it. Pure."""
    if len(os.fsencode(root)) + _LONGEST_BELOW_ROOT > _SOCKET_PATH_LIMIT:
        return short_path.of(root)
    return root


def remove_log(root: Path, name: str) -> None:
    """Remove what libvirt logged of the domain `name`: in a hypervisor of ours that is litter."""
    (reached_by(root) / "log" / "qemu" / f"{name}.log").unlink(missing_ok=True)


def describe_process(pid: int) -> str:
    """A process in words; 0 is one that is not known."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
    except OSError:
        return f"process {pid}" if pid else "another process"
    return f"process {pid} ({command.decode(errors='replace').strip()[:60]})"
