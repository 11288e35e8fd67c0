"""The process in which a private libvirtd lives: `python -m ...keeper DIR TOKEN`, as root.

It has a mount namespace of its own, in which libvirt's directories are ours, and it adopts and
reaps every process that libvirt leaves behind. It outlives libvirtd, so that one that was killed
can be started again beside its running guests, and it ends, taking everything with it, when its
standard input closes: a test run that is killed leaves nothing.

Orders come as lines on standard input, each answered by one line on standard output:
`start` starts libvirtd and answers its pid; `end` or the end of input ends it all.
"""

import contextlib
import ctypes
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.lab.libvirt.subreaper import become_subreaper

_CLONE_NEWNS = 0x00020000
_MS_BIND = 4096
_MS_REC = 16384
_MS_PRIVATE = 1 << 18

# Our directory for each of libvirt's.
_DIRECTORIES = {
    "run": "/run/libvirt",
    "lib": "/var/lib/libvirt",
    "cache": "/var/cache/libvirt",
    "log": "/var/log/libvirt",
    "etc": "/etc/libvirt",
}


class Keeper:
    """Starts libvirtd on request, reaps orphans, and cleans up in the end."""

    def __init__(self, directory: Path, token: str) -> None:
        """Keep a libvirtd whose files are in `directory` and whose bridges' names hold `token`."""
        self._directory = directory
        self._token = token
        self._wake, wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_writer)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            # Our input says when to end, nothing else. Not SIG_IGN, which children would inherit.
            signal.signal(number, lambda *_: None)

    def enter_namespace(self) -> None:
        """Put our directories where libvirt looks for its own, for us and our children only."""
        libc = ctypes.CDLL(None, use_errno=True)

        def check(code: int, what: str) -> None:
            if code:
                raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")

        check(libc.unshare(_CLONE_NEWNS), "unshare")
        check(libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None), "make / private")
        for ours, theirs in _DIRECTORIES.items():
            Path(theirs).mkdir(parents=True, exist_ok=True)
            source = os.fsencode(self._directory / ours)
            check(libc.mount(source, theirs.encode(), None, _MS_BIND, None), f"mount {theirs}")

    def serve(self) -> None:
        """Obey until told to end, or until the input is closed."""
        waiting = selectors.DefaultSelector()
        waiting.register(sys.stdin.fileno(), selectors.EVENT_READ, "order")
        waiting.register(self._wake, selectors.EVENT_READ, "child")
        pending = b""
        while True:
            for key, _ in waiting.select():
                if key.data == "child":
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._wake, 4096)
                    self._reap()
                    continue
                received = os.read(sys.stdin.fileno(), 4096)
                if not received:
                    return
                *orders, pending = (pending + received).split(b"\n")
                for order in orders:
                    if order == b"end":
                        return
                    print(self._start_libvirtd(), flush=True)

    def clean_up(self) -> None:
        """End every process below us, then remove the bridges and firewall rules they left."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + 3
            while (pids := self._children()) and time.monotonic() < deadline:
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, number)
                time.sleep(0.02)
                self._reap()  # a child's own children come to us as it ends
        self._remove_bridges()
        for table in ("filter", "nat", "mangle"):
            listed = subprocess.run(
                ["iptables", "-w", "-t", table, "-S"], capture_output=True, text=True, check=False
            )
            for rule in listed.stdout.splitlines():
                if self._token in rule and rule.startswith("-A "):
                    words = ["-D", *rule.split()[1:]]
                    subprocess.run(["iptables", "-w", "-t", table, *words], check=False)

    def _remove_bridges(self) -> None:
        """Delete until none is seen twice: a busy host's listing may miss one, a busy link stay."""
        deadline = time.monotonic() + 5
        unseen = 0
        while unseen < 2 and time.monotonic() < deadline:
            # The taps on a bridge go with their guests.
            names = [name for _, name in socket.if_nameindex() if name.startswith(self._token)]
            unseen = 0 if names else unseen + 1
            for name in names:
                subprocess.run(["ip", "link", "delete", name], check=False)
            time.sleep(0.01)

    def _start_libvirtd(self) -> int:
        directory = self._directory
        libvirtd = subprocess.Popen(
            [
                "libvirtd",
                *("--config", str(directory / "libvirtd.conf")),
                *("--pid-file", str(directory / "libvirtd.pid")),
            ],
            stdin=subprocess.DEVNULL,
            stdout=(directory / "log/libvirtd.out").open("ab"),
            stderr=subprocess.STDOUT,
            env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
        )
        return libvirtd.pid

    @staticmethod
    def _children() -> list[int]:
        return [int(pid) for pid in Path("/proc/thread-self/children").read_text().split()]

    @staticmethod
    def _reap() -> None:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def main() -> None:
    """Keep until the input ends."""
    keeper = Keeper(Path(sys.argv[1]), sys.argv[2])
    os.chdir("/")
    os.setsid()  # no signal of the terminal's reaches libvirtd or QEMU
    become_subreaper()
    keeper.enter_namespace()
    print("ready", flush=True)
    try:
        keeper.serve()
    finally:
        keeper.clean_up()


if __name__ == "__main__":
    main()
