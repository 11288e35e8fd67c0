"""The iSCSI target daemon of a lab: what it exports, to whom, and how to harm it."""

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.process import LabError, Server


@dataclass
class Session:
    """An initiator that is logged in."""

    initiator: str
    addresses: list[str] = field(default_factory=list)


@dataclass
class Target:
    """One exported volume."""

    number: int
    iqn: str
    files: list[str] = field(default_factory=list)
    accounts: list[str] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)

    @property
    def volume_id(self) -> str:
        """The Cinder volume it exports."""
        return self.iqn.rpartition("volume-")[2]


class Tgt:
    """A tgtd with a control socket and a portal of its own."""

    def __init__(self, directory: Path, port: int, lasting: bool = False) -> None:
        """Keep its files in `directory` and serve on loopback at `port`."""
        self.socket = directory / "socket"
        self.server = Server(
            "tgtd",
            ["tgtd", "-f", "--iscsi", f"portal=127.0.0.1:{port}"],
            directory / "tgtd.log",
            env={"TGT_IPC_SOCKET": str(self.socket)},
            lasting=lasting,
        )

    def start(self) -> None:
        """Start with no targets."""
        self.server.start()
        self.server.wait_until(lambda: self._run("system", "show")[0] == 0)

    def stop(self) -> None:
        """End it; SIGTERM does not while there are targets, and it has nothing to lose."""
        self.server.kill9()
        self.server.stop()

    def kill9(self) -> None:
        """Kill it: every session and export is gone."""
        self.server.kill9()

    def targets(self) -> list[Target]:
        """All exports."""
        return parse_targets(self._tgtadm("target", "show"))

    def target_of(self, volume_id: str) -> Target | None:
        """The export of a volume, if there is one."""
        return next((each for each in self.targets() if each.volume_id == volume_id), None)

    def accounts(self) -> list[str]:
        """All CHAP users that the daemon knows, bound to a target or not."""
        listed = self._tgtadm("account", "show").splitlines()
        return [line.strip() for line in listed[1:] if line.strip()]

    def change_password(self, volume_id: str, password: str) -> None:
        """Give a volume's CHAP user another password: whoever knows the old one is refused."""
        target = self._present(volume_id)
        for user in target.accounts:
            self._tgtadm("account", "delete", "--user", user)
            self._tgtadm("account", "new", "--user", user, "--password", password)
            self._tgtadm("account", "bind", "--tid", str(target.number), "--user", user)

    def delete_target(self, volume_id: str) -> None:
        """Take an export away behind Cinder's back, its sessions with it."""
        target = self._present(volume_id)
        self._tgtadm("target", "delete", "--force", "--tid", str(target.number))

    def _present(self, volume_id: str) -> Target:
        target = self.target_of(volume_id)
        if target is None:
            raise LabError(f"volume {volume_id} is not exported")
        return target

    def _tgtadm(self, mode: str, operation: str, *arguments: str) -> str:
        code, output = self._run(mode, operation, *arguments)
        if code:
            raise LabError(f"tgtadm {mode} {operation}: {output}")
        return output

    def _run(self, mode: str, operation: str, *arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            ["tgtadm", "--lld", "iscsi", "--mode", mode, "--op", operation, *arguments],
            env={
                "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
                "TGT_IPC_SOCKET": str(self.socket),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout if done.returncode == 0 else done.stderr


def parse_targets(listed: str) -> list[Target]:
    """Read what `tgtadm --mode target --op show` prints."""
    targets: list[Target] = []
    section = ""
    for line in listed.splitlines():
        if found := re.match(r"Target (\d+): (\S+)", line):
            targets.append(Target(int(found[1]), found[2]))
            continue
        text = line.strip()
        if re.match(r" {4}\S", line):
            section = text
        elif found := re.match(r"Initiator: (\S+)", text):
            targets[-1].sessions.append(Session(found[1]))
        elif found := re.match(r"IP Address: (\S+)", text):
            targets[-1].sessions[-1].addresses.append(found[1])
        elif found := re.match(r"Backing store path: (/.+)", text):
            targets[-1].files.append(found[1])
        elif section == "Account information:" and text:
            targets[-1].accounts.append(text)
    return targets
