"""Where one test builds: a home, a hypervisor, a user; and what can be seen of it from outside.

The footprint is looked for with eyes of its own (files, /proc, libvirt's files), never asked of
the program that is tested.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bad_luck.code import Code, our_own

TIMEOUT_S = 240
MARKER = "BUILDFLOW-GUEST-READY"
# the guest of the laboratory, told by the line that it prints when it is up; never the boot probe
SMALL = ("--memory", "96", "--virt-type", "qemu")
BOOTED = ("--wait", f"console:{MARKER}")


@dataclass(frozen=True)
class Ran:
    """One call of the command line that has ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    @property
    def line(self) -> str:
        """The one line on stderr; there must be no other, and no traceback."""
        lines = self.err.splitlines()
        assert len(lines) == 1, f"not one line: {self.err!r}"
        assert "Traceback" not in self.err
        return lines[0]


@dataclass
class Stage:
    """Runs `buildflow` with one home, as `user` when it is not None."""

    home: Path
    connect: str | None = None
    user: str | None = None
    code: Code = field(default_factory=our_own)
    environment: Mapping[str, str] = field(default_factory=dict)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start one call."""
        where = ["--home", str(self.home)]
        if self.connect is not None:
            where += ["--connect", self.connect]
        identity: dict[str, Any] = {}
        if self.user is not None:
            entry = pwd.getpwnam(self.user)
            identity = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("BUILDFLOW_", "OS_", "XDG_", "LIBVIRT_", "PYTHON"))
        }
        return subprocess.Popen(
            [str(self.code.python), "-m", "buildflow", *where, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.home,
            env={
                **inherited,
                "PYTHONPATH": os.pathsep.join(map(str, self.code.path)),
                "PYTHONDONTWRITEBYTECODE": "1",
                "HOME": str(self.home),
                **self.environment,
            },
            **identity,
        )

    def run(self, *words: str) -> Ran:
        """Carry one call out."""
        process = self.start(*words)
        try:
            out, err = process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"{words} hangs: {err}") from None
        return Ran(process.returncode, out, err)

    def build(self, name: str, *words: str) -> Ran:
        """A small machine, told in JSON and in one line."""
        return self.run("--json", "--quiet", "build", name, *SMALL, *words)

    def delete(self, name: str) -> None:
        """Remove a machine; nothing may be left of it."""
        ran = self.run("--json", "delete", name)
        assert ran.code == 0, ran.err

    def footprint(self) -> set[str]:
        """Domains, QEMU processes, files and records that a build makes."""
        return {*self._domains(), *self._processes(), *self._files(), *self._unfinished()}

    def _unfinished(self) -> Iterator[str]:
        """Builds that somebody would have to go on with."""
        store = self.home / "buildflow.sqlite"
        if store.exists() and store.stat().st_size:
            query = "SELECT id FROM builds WHERE status NOT IN ('complete', 'rolled_back')"
            with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
                yield from (f"build {row[0]}" for row in connection.execute(query))

    def _domains(self) -> Iterator[str]:
        """libvirt's own files, defined and running."""
        for folder in ("etc/qemu", "run/qemu"):
            for path in (self.home / "embed" / folder).glob("*.xml"):
                yield f"domain {folder}/{path.name}"

    def _processes(self) -> Iterator[str]:
        for pid, argv in processes():
            if "qemu" in argv[0] and any(str(self.home) in word for word in argv):
                yield f"process {pid}"

    def _files(self) -> Iterator[str]:
        for folder in ("instances", "ports", "secrets", "volumes"):
            for path in (self.home / folder).rglob("*"):
                yield f"file {path.relative_to(self.home)}"


def processes() -> Iterator[tuple[int, list[str]]]:
    """Every process of this host with its command line."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:  # it has ended meanwhile
                continue
            if words[0]:
                yield int(entry.name), words


def told_uuid(log: Path) -> str | None:
    """The uuid that the guest itself printed beside its marker."""
    text = log.read_text(errors="replace")
    found = re.search(rf"{MARKER}\b.*?([0-9a-f]{{8}}-[0-9a-f-]{{27}})", text)
    return found.group(1) if found else None
