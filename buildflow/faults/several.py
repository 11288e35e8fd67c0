"""Explorations of several scenes as one: figures added up, transitions taken by any of them.

A result is an Exploration or a Several; what reports share is read off either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from buildflow.faults.explore import Exploration, Progress
from buildflow.faults.play import Scenario


@dataclass(slots=True)
class Several:
    """See the module. `scene` is how they were asked for: `all`, or their names; `parts` are of
    machines, which have the same declared transitions.
    """

    scene: str
    parts: list[Exploration]

    def _sum(self, name: str) -> Any:
        return sum(getattr(part, name) for part in self.parts)

    @property
    def depth(self) -> int:
        """How many faults a plan may have, the random ones apart."""
        return self.parts[0].depth

    @property
    def scenarios(self) -> int:
        """Plans that were decided, those without a fault among them."""
        return int(self._sum("scenarios"))

    @property
    def singles(self) -> int:
        """Plans of one fault."""
        return int(self._sum("singles"))

    @property
    def pairs(self) -> int:
        """Plans of two."""
        return int(self._sum("pairs"))

    @property
    def randoms(self) -> int:
        """Plans at random."""
        return int(self._sum("randoms"))

    @property
    def executed(self) -> int:
        """Runs that were made."""
        return int(self._sum("executed"))

    @property
    def pruned(self) -> int:
        """Plans for which no run of their own was needed."""
        return int(self._sum("pruned"))

    @property
    def positions(self) -> int:
        """Positions of all the scenes."""
        return int(self._sum("positions"))

    @property
    def lost(self) -> int:
        """What could not be decided."""
        return int(self._sum("lost"))

    @property
    def seconds(self) -> float:
        """How long all of them took."""
        return float(self._sum("seconds"))

    @property
    def points(self) -> list[str]:
        """The points of each, those of the same name in two scenes twice."""
        return [point for part in self.parts for point in part.points]

    @property
    def outcomes(self) -> Counter[str]:
        """How many plans ended in which way."""
        total: Counter[str] = Counter()
        for part in self.parts:
            total.update(part.outcomes)
        return total

    @property
    def failing(self) -> list[Scenario]:
        """Scenarios of any of them that broke a rule; each part knows its own."""
        return [scenario for part in self.parts for scenario in part.failing]

    @property
    def edge_names(self) -> tuple[str, ...]:
        """Every declared transition."""
        return self.parts[0].edge_names

    @property
    def taken(self) -> dict[int, Counter[str]]:
        """For each declared transition the faults that had struck before any scene took it."""
        merged: dict[int, Counter[str]] = {}
        for part in self.parts:
            for edge, faults in part.taken.items():
                merged.setdefault(edge, Counter()).update(faults)
        return merged

    @property
    def untaken(self) -> list[str]:
        """Declared transitions that no scenario of any scene has taken."""
        taken = self.taken
        return [name for i, name in enumerate(self.edge_names) if i not in taken]


Result = Exploration | Several


def parts_of(result: Result) -> list[Exploration]:
    """The explorations that a result consists of."""
    return [result] if isinstance(result, Exploration) else result.parts


@dataclass(slots=True)
class Share:
    """Tells the progress of one scene after another as that of the whole.

    The scenes that are yet to come are taken to need as long as those before them did on average.
    """

    tell: Callable[[Progress], None]
    scenes: int
    done: int = 0
    tried: int = 0
    runs: int = 0
    violations: int = 0
    seconds: float = 0.0

    def __call__(self, progress: Progress) -> None:
        """See explore.Tell."""
        left_s = progress.left_s or 0.0
        each_s = (self.seconds + progress.seconds + left_s) / (self.done + 1)
        self.tell(replace(
            progress, tried=self.tried + progress.tried, runs=self.runs + progress.runs,
            violations=self.violations + progress.violations,
            estimate_s=left_s + each_s * (self.scenes - self.done - 1),
        ))  # fmt: skip

    def took(self, part: Exploration) -> None:
        """One scene is over."""
        self.done += 1
        self.tried += part.singles + part.pairs + part.randoms
        self.runs += part.executed
        self.violations += len(part.failing)
        self.seconds += part.seconds
