"""What a check is and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from buildflow.config import Settings

Status = Literal["ok", "warn", "bad"]

OK: Final = "ok"
WARN: Final = "warn"
BAD: Final = "bad"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One line of the doctor's report.

    `status`: `ok`; `warn`, when machines can be built but slower or with less; `bad`, when they
    can't. `detail` is what was found, `cure` what mends it, empty when nothing has to be mended.
    """

    name: str
    status: Status
    detail: str
    cure: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the table. `applies` tells whether the settings make it worth asking; a check that
    `needs` another is not made when that one was bad.
    """

    name: str
    look: Callable[[Settings], CheckResult]
    why: str
    applies: Callable[[Settings], bool] = lambda _settings: True
    needs: str | None = None


def ok(name: str, detail: str) -> CheckResult:
    """All is well."""
    return CheckResult(name, OK, detail)


def warn(name: str, detail: str, cure: str) -> CheckResult:
    """It works, but not as it could."""
    return CheckResult(name, WARN, detail, cure)


def bad(name: str, detail: str, cure: str) -> CheckResult:
    """It does not work."""
    return CheckResult(name, BAD, detail, cure)
