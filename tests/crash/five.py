"""A flow of five steps, each of which makes a real file: small enough for all pairs of deaths."""

from __future__ import annotations

import gc
import os
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final

from taskflow.patterns import linear_flow

from buildflow.config import Settings
from buildflow.engine.clock import VirtualClock
from buildflow.engine.core import Engine
from buildflow.engine.step import Step
from buildflow.engine.store import Store
from buildflow.errors import Refused
from tests.crash.deaths import Deaths
from tests.crash.forks import Instants

BUILD = str(uuid.uuid5(uuid.NAMESPACE_URL, "five files"))
Row = dict[str, Any]


class MakeFile(Step):
    """One file, named after its key; making one that is there fails, and each making is noted."""

    kind: ClassVar[str] = "file"
    undo_label: ClassVar[str] = "remove the file"

    def facts(self) -> Row:
        """Nothing but the step's own name."""
        return {"step": self.name}

    def find(self, key: str, facts: Row) -> str | None:
        """By its name."""
        return key if (self.world / key).exists() else None

    def create(self, key: str, facts: Row) -> str:
        """Exclusively, and noted in one write."""
        os.close(os.open(self.world / key, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        log = os.open(self.world / "made.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        os.write(log, f"{key}\n".encode())
        os.close(log)
        return key

    def delete(self, key: str, facts: Row) -> None:
        """One that is not there is gone."""
        if facts["step"] == self.run.row["inputs"].get("stuck"):
            raise Refused("this file can't be removed")
        (self.world / key).unlink(missing_ok=True)


class Fail(Step):
    """The last step, when it is to fail."""

    no_undo: ClassVar[str] = "it makes nothing"

    def perform(self) -> None:
        """See the class."""
        raise Refused("as was asked")


def five_files(fail: bool = False, stuck: str | None = None) -> Any:
    """Four files and a failure, or five files."""
    flow = linear_flow.Flow("five files")
    flow.add(*(MakeFile(f"file {n}") for n in range(4)))
    return flow.add(Fail("file 4") if fail else MakeFile("file 4"))


# what each of the flows is asked for
FLOWS: Final[dict[str, Row]] = {
    "complete": {},
    "fails": {"fail": True},
    "stuck": {"fail": True, "stuck": "file 2"},
}


class FiveBed(Deaths):
    """Its judge."""

    def __init__(self, folder: Path, **inputs: Any) -> None:
        self.folder, self.inputs = folder, inputs
        self.template = folder / "template"
        self.template.mkdir(parents=True)
        Store(self._url(self.template)).close()
        (self.template / "files").mkdir()
        # in this process, so that whatever is made once is there before the first fork
        whole, instants = self.copy("whole"), Instants()
        self.first(whole, instants)
        self.instants = instants.passed
        self.expected = self.verdict(whole)
        gc.collect()
        gc.freeze()  # what is there now is not walked, and so not copied, in each child

    def complaint(self, found: Row) -> str | None:
        """What is wrong with it."""
        if found["again"] != found["files"]:
            return "a second resume did something"
        made = found["made"]
        if len(set(made)) != len(made):
            return f"made twice: {made}"
        if found["status"] is None:
            return f"files without a build: {made}" if made else None
        for name in ("status", "files", "residue"):
            if found[name] != self.expected[name]:
                return f"{name} is {found[name]}, not {self.expected[name]}"
        return None

    def origin(self) -> Path:
        """See tests/crash/deaths.py, as for the next three."""
        return self.template

    def verdict(self, home: Path) -> Row:
        """With one engine, as whoever resumes has."""
        with self._engine(home, Instants()) as engine:
            _resume_all(engine)
            row = engine.store.build(BUILD)
            effects = engine.store.effects(BUILD)
            log = home / "files" / "made.log"
            found = {
                "status": row["status"] if row else None,
                "files": self._files(home),
                "made": log.read_text().split() if log.exists() else [],
                "residue": sorted(e["key"] for e in effects if e["state"] == "residue"),
            }
            _resume_all(engine)
            again = engine.store.build(BUILD)
            found["again"] = self._files(home) if again == row else "another row"
            return found

    @staticmethod
    def _files(home: Path) -> list[str]:
        return sorted(p.name for p in (home / "files").iterdir() if p.name != "made.log")

    def first(self, home: Path, instants: Instants) -> None:
        """Build it."""
        with self._engine(home, instants) as engine:
            row = engine.accept(five_files, self.inputs, build_id=BUILD)
            engine.start(row).wait()

    def resume(self, home: Path, instants: Instants) -> None:
        """Go on with what is left."""
        with self._engine(home, instants) as engine:
            _resume_all(engine)

    @staticmethod
    def _url(home: Path) -> str:
        return f"sqlite:///{home / 'buildflow.sqlite'}"

    @contextmanager
    def _engine(self, home: Path, instants: Instants) -> Any:
        store = Store(self._url(home), synchronous="OFF")
        store.journal.on_commit = instants.on_commit
        settings = Settings(home=home, undo_timeout_s=1.0)
        engine = Engine(
            settings, home / "files", store=store, clock=VirtualClock(),
            points=instants.point, watch_s=None,
        )  # fmt: skip
        try:
            yield engine
        finally:
            engine.close()
            store.close()


def _resume_all(engine: Engine) -> None:
    for handle in engine.resume():
        handle.wait()
