"""One server process of the laboratory: started, waited for, stopped or killed, never left."""

import contextlib
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


class LabError(Exception):
    """The laboratory itself failed, not what is tested in it."""


@dataclass(frozen=True)
class ProcessId:
    """A pid that cannot be mistaken for a later process of the same number."""

    pid: int
    started: int  # in clock ticks since the host's boot

    @classmethod
    def of(cls, pid: int) -> "ProcessId":
        """The process that has this pid now."""
        state = _stat(pid)
        return cls(pid, int(state[19]) if state else -1)

    @property
    def alive(self) -> bool:
        """Whether it still runs; one that only waits to be reaped does not."""
        state = _stat(self.pid)
        return state is not None and state[0] not in {"Z", "X"} and int(state[19]) == self.started

    def signal(self, number: int) -> None:
        """Send a signal, if the process is still there."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


@dataclass
class Server:
    """A command that runs until it is stopped.

    It dies with the thread that started it, however that ends, unless `lasting`: a killed test run
    leaves no servers. Start it from a thread that lives as long as the server shall.
    """

    name: str
    command: Sequence[str]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    stop_signal: int = signal.SIGTERM
    lasting: bool = False
    running_as: ProcessId | None = None
    _child: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        if self._child is not None:
            self._child.poll()  # reaps it if it has ended
        return self.running_as is not None and self.running_as.alive

    @property
    def pid(self) -> int:
        """The running process's pid."""
        if self.running_as is None or not self.alive:
            raise LabError(f"{self.name} is not running")
        return self.running_as.pid

    def start(self) -> None:
        """Start the process; it may take a while to answer, see `wait_until`."""
        if self.alive:
            raise LabError(f"{self.name} is running already")
        command = [*self.command]
        privileges = [] if self.lasting else ["--pdeathsig", "KILL"]
        if self.user is not None:
            entry = pwd.getpwnam(self.user)
            identity = (f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups")
            # The change of user clears a death signal that is set before it: setpriv sets it after.
            privileges += identity
        if privileges:
            command = ["setpriv", *privileges, "--", *command]
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", **self.env},
                cwd=self.log.parent,
                start_new_session=True,
            )
        self.running_as = ProcessId.of(self._child.pid)
        if privileges:
            self._wait_for_privileges()

    def wait_until(self, ready: Callable[[], bool], timeout: float = 60) -> None:
        """Wait until the server answers; raise with the end of its log if it does not."""
        deadline = time.monotonic() + timeout
        while not ready():
            if not self.alive:
                raise LabError(f"{self.name} ended at its start:\n{self.last_lines()}")
            if time.monotonic() > deadline:
                raise LabError(f"{self.name} is silent for {timeout:.0f} s:\n{self.last_lines()}")
            time.sleep(0.02)

    def stop(self, timeout: float = 10) -> None:
        """Ask the process to end, and kill it if it does not; nothing if it is not running."""
        if self.running_as is None:
            return
        self.running_as.signal(self.stop_signal)
        if not self._gone(timeout):
            self.kill9()
        self.running_as = None

    def kill9(self) -> None:
        """Kill the process where it stands."""
        if self.running_as is None:
            return
        self.running_as.signal(signal.SIGKILL)
        if not self._gone(10):
            raise LabError(f"{self.name} does not die")

    def last_lines(self, count: int = 20) -> str:
        """The end of the log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])

    def _wait_for_privileges(self) -> None:
        """Wait until setpriv has become the command: before that, it may outlive us."""
        assert self.running_as is not None
        deadline = time.monotonic() + 10
        name = Path(f"/proc/{self.running_as.pid}/comm")
        while self.alive and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if name.read_text().strip() != "setpriv":
                    return
            time.sleep(0.002)

    def _gone(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while self.alive:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        if self._child is not None:
            self._child.wait()  # it is dead: this only reaps it
        return True


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on, or None."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
