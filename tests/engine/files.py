"""Flows whose effects are real files in a folder, for tests of the engine alone.

A file `fail-NAME` in the folder makes the step NAME fail, `stuck-NAME` its undo, `slow-NAME` makes
it wait until that file goes; every making and removing is noted in `log`.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, ClassVar

from taskflow.patterns import linear_flow, unordered_flow

from buildflow.engine.step import Step
from buildflow.errors import DriverError, Refused

Row = dict[str, Any]


def note(folder: Path, line: str) -> None:
    """Append one line, whole."""
    handle = os.open(folder / "log", os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)
    os.write(handle, f"{line}\n".encode())
    os.close(handle)


def noted(folder: Path) -> list[str]:
    """The lines so far."""
    log = folder / "log"
    return log.read_text().splitlines() if log.exists() else []


def effects(folder: Path) -> list[str]:
    """The files that steps have made."""
    return sorted(p.name for p in folder.iterdir() if p.name.startswith("made-"))


class File(Step):
    """One file; see the module."""

    kind: ClassVar[str] = "file"
    undo_label: ClassVar[str] = "remove the file"

    def facts(self) -> Row:
        """Its path."""
        return {"path": str(self.world / f"made-{self.name}-{self.run.attempt}")}

    def find(self, key: str, facts: Row) -> str | None:
        """By its path."""
        note(self.world, f"find {self.name}")
        return facts["path"] if Path(facts["path"]).exists() else None

    def create(self, key: str, facts: Row) -> str:
        """Make it, unless the folder says otherwise."""
        folder = self.world
        if (folder / f"fail-{self.name}").exists():
            raise Refused(f"{self.name} was to fail")
        while (folder / f"slow-{self.name}").exists():
            self.pause(0.05)
        lost = folder / f"lost-{self.name}"
        how = lost.read_text() if lost.exists() else ""
        if how != "before":
            note(folder, f"make {self.name}")
            Path(facts["path"]).touch(exist_ok=False)
        if how:
            lost.unlink()
            raise DriverError("the answer was lost", outcome_unknown=True)
        return str(facts["path"])

    def delete(self, key: str, facts: Row) -> None:
        """Remove it, unless it is stuck."""
        folder = self.world
        if (folder / f"stuck-{self.name}").exists():
            raise Refused(f"{self.name} is stuck")
        flaky = folder / f"flaky-{self.name}"
        if flaky.exists():
            left = int(flaky.read_text())
            if left:
                flaky.write_text(str(left - 1))
                raise OSError("not now")
        note(folder, f"remove {self.name}")
        Path(facts["path"]).unlink(missing_ok=True)


class Upper(File):
    """A file that must be gone before a `file` about the same may be removed."""

    kind: ClassVar[str] = "upper"


class Lower(File):
    """See Upper."""

    kind: ClassVar[str] = "lower"
    undo_after: ClassVar[tuple[str, ...]] = ("upper",)


class Boom(Step):
    """Fails when the folder says so."""

    no_undo: ClassVar[str] = "it makes nothing"

    def perform(self) -> int:
        """See the class."""
        if (self.world / "boom").exists():
            raise RuntimeError("boom")
        return 1


class Odd(Step):
    """Returns something that does not survive JSON."""

    no_undo: ClassVar[str] = "it makes nothing"

    def perform(self) -> Any:
        """A tuple."""
        return (1, 2)


class Quits(Step):
    """Calls sys.exit, as a careless step may."""

    no_undo: ClassVar[str] = "it makes nothing"

    def perform(self) -> None:
        """See the class."""
        raise SystemExit(3)


class Nap(Step):
    """Sleeps on the wall clock without looking up: a driver call in flight."""

    no_undo: ClassVar[str] = "it makes nothing"

    def perform(self) -> None:
        """See the class."""
        note(self.world, f"nap {self.name}")
        time.sleep(0.3)


class Locked(Step):
    """Holds one lock while it writes what it sees."""

    no_undo: ClassVar[str] = "it makes nothing"

    def perform(self) -> None:
        """See the class."""
        with self.hold("one thing"):
            note(self.world, f"in {self.run.id}")
            while (self.world / "hold").exists():
                self.pause(0.02)
            note(self.world, f"out {self.run.id}")


def three(names: list[str] | None = None) -> Any:
    """Three files and a step that may fail."""
    flow = linear_flow.Flow("three")
    flow.add(*(File(name) for name in names or ["a", "b", "c"]))
    return flow.add(Boom("boom"))


def layered() -> Any:
    """Two towers side by side, each of a lower and an upper file; then a step that may fail."""
    towers = [
        linear_flow.Flow(f"tower {n}").add(
            Lower(f"lower{n}", about=f"tower {n}"), Upper(f"upper{n}", about=f"tower {n}")
        )
        for n in range(2)
    ]
    return linear_flow.Flow("layered").add(unordered_flow.Flow("towers").add(*towers), Boom("boom"))


def napping() -> Any:
    """A file, a driver call that takes its time, another file."""
    return linear_flow.Flow("napping").add(File("a"), Nap("nap"), File("b"))


def naps() -> Any:
    """One driver call that takes its time."""
    return linear_flow.Flow("naps").add(Nap("nap"))


def locked() -> Any:
    """One locked step."""
    return linear_flow.Flow("locked").add(Locked("locked"))


def odd() -> Any:
    """A file, and a result that does not survive JSON."""
    return linear_flow.Flow("odd").add(File("a"), Odd("odd", provides="odd"))


def quits() -> Any:
    """A file, and a step that calls sys.exit."""
    return linear_flow.Flow("quits").add(File("a"), Quits("quits"))


def wide(count: int = 4) -> Any:
    """Files that may be made at once."""
    flow = unordered_flow.Flow("wide").add(*(File(f"w{n}") for n in range(count)))
    return linear_flow.Flow("around").add(flow, Boom("boom"))


def none(count: int = 1) -> Any:
    """Steps that do nothing at all."""
    return linear_flow.Flow("none").add(*(Boom(f"n{n}") for n in range(count)))
