"""One death or two in a row, each of a real process, and what is found after the resume."""

from __future__ import annotations

import os
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.crash.forks import KILLED, Instants, in_child

Row = dict[str, Any]


class Deaths(ABC):
    """The judge of a bed, which says what is done (first), gone on with, and found (verdict).

    The first life and a resume that is to be killed are children; a resume that ends is none: who
    judges is warm, and has not touched that home before.
    """

    folder: Path

    @abstractmethod
    def first(self, home: Path, instants: Instants) -> Any:
        """The life that is killed."""

    @abstractmethod
    def resume(self, home: Path, instants: Instants) -> Any:
        """What goes on with all that was left."""

    @abstractmethod
    def verdict(self, home: Path) -> Row:
        """Resume, look, resume again, look again."""

    @abstractmethod
    def complaint(self, found: Row) -> str | None:
        """What is wrong with a verdict."""

    @abstractmethod
    def origin(self) -> Path:
        """The folder that each case gets a copy of."""

    def copy(self, name: str) -> Path:
        """A folder of its own for one case."""
        home = self.folder / f"{os.getpid()}-{re.sub('[^a-z0-9]+', '-', name.lower())}"
        shutil.copytree(self.origin(), home)
        return home

    def judge(self, kill_at: int | str) -> str | None:
        """Kill at one instant, then resume; what is wrong at the end."""
        return next(iter(self.judge_resumes(kill_at, [None])), None)

    def judge_resumes(self, kill_at: int | str, again: Sequence[int | None]) -> list[str]:
        """Kill at an instant of the first life; then for each of `again` at that one of a resume.

        None is for a resume that nobody kills, and so is one that has less left to do than that.
        All of them find what the one death has left, each in a copy of its own.
        """
        dead = self.copy(str(kill_at))
        complaints = []
        try:
            if in_child(partial(self.first, dead, Instants(kill_at))) != KILLED:
                return [f"it was not killed at instant {kill_at}"]
            for second in again:
                home = dead
                if second is not None:
                    home = dead.with_name(f"{dead.name}-{second}")
                    shutil.copytree(dead, home)
                    in_child(partial(self.resume, home, Instants(second)))
                complaint = self.complaint(self.verdict(home))
                if complaint is not None:
                    complaints.append(f"{second}: {complaint}")
                if second is not None:
                    shutil.rmtree(home)
            return complaints
        finally:
            shutil.rmtree(dead)

    def judge_by_chance(self, kill_at: int) -> str | None:
        """The same where a run may pass fewer instants than the last one; it ends well then too."""
        home = self.copy(str(kill_at))
        try:
            in_child(partial(self.first, home, Instants(kill_at)))
            return self.complaint(self.verdict(home))
        finally:
            shutil.rmtree(home)
