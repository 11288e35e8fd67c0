"""Whether a mistake is found, shrunk, replayed from its token, and gone without it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from tests.faults.planted.mistake import Mistake
from tests.faults.planted.nursery import Nursery

FAULTS_MAX = 2
TOKEN_MAX = 80


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one mistake. `replayed`: in another process the token breaks the same rules;
    `clean`: without the mistake it breaks none.
    """

    mistake: Mistake
    found: bool = False
    shrunk: bool = False
    replayed: bool = False
    clean: bool = False
    rules: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    faults: int = 0
    token: str = ""
    story: tuple[str, ...] = ()
    scenarios: int = 0
    seconds: float = 0.0
    errors: tuple[str, ...] = field(default=())

    @property
    def proven(self) -> bool:
        """Whether all four hold."""
        return self.found and self.shrunk and self.replayed and self.clean

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        m = self.mistake
        return {
            "name": m.name, "sort": m.sort, "why": m.why, "module": m.module, "scene": m.scene,
            "depth": m.depth, "found": self.found, "shrunk": self.shrunk,
            "replayed": self.replayed, "clean": self.clean, "rules": list(self.rules),
            "texts": list(self.texts), "faults": self.faults, "token": self.token,
            "story": list(self.story), "scenarios": self.scenarios,
            "seconds": round(self.seconds, 2), "errors": list(self.errors),
        }  # fmt: skip


def prove(mistake: Mistake, nursery: Nursery) -> Finding:
    """Explore with the mistake planted; then replay the token with it and without it."""
    started = time.monotonic()
    answer = nursery.explore(mistake)
    if not answer.get("found"):
        errors = (answer["error"],) if "error" in answer else ()
        return Finding(
            mistake, scenarios=answer.get("scenarios", 0), errors=errors,
            seconds=time.monotonic() - started,
        )  # fmt: skip
    token, plan = answer["token"], answer["plan"]
    again = nursery.replay(mistake, token, plan)
    without = nursery.replay(None, token, plan)
    errors = tuple(each["error"] for each in (again, without) if "error" in each)
    if without.get("rules"):
        errors = (*errors, f"without it: {'; '.join(without['texts'])}")
    return Finding(
        mistake,
        found=True,
        shrunk=len(answer["faults"]) <= FAULTS_MAX and len(token) <= TOKEN_MAX,
        replayed=again.get("rules") == answer["rules"],
        clean=without.get("rules") == [],
        rules=tuple(answer["rules"]),
        texts=tuple(answer["texts"]),
        faults=len(answer["faults"]),
        token=token,
        story=tuple(answer["story"]),
        scenarios=answer["scenarios"],
        seconds=time.monotonic() - started,
        errors=errors,
    )
