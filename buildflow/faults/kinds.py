"""What can go wrong, as data: each kind of fault, where it can strike and what it does.

Errors are those that the real drivers raise for the code in the row: the tables that translate
libvirt's and OpenStack's answers are checked against these rows (tests/faults/test_kinds.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from buildflow.errors import (
    Conflict,
    DriverError,
    Exhausted,
    NoAddressLeft,
    NotFound,
    Refused,
    VolumeServiceError,
)
from buildflow.faults.visit import At, Visit


class Act(StrEnum):
    """What a fault does to the run that it strikes."""

    RAISE = "raise"  # an error, and nothing was done
    LOSE = "lose"  # it was done, and the answer was lost
    HANG = "hang"  # nothing was done, and the caller learns it at the deadline
    DELAY = "delay"  # it is done, later
    KILL = "kill"  # the process is gone at this instant; another one resumes
    DOWN = "down"  # the service fails this call and every later one of the run
    FULL = "full"  # no space is left on the host, from here on
    STORE = "store"  # the database fails; before a commit nothing is written, after it all is
    GUEST = "guest"  # something happens to the guest
    WORLD = "world"  # somebody changes the world behind our back
    STOP = "stop"  # somebody asks the build to stop
    TAKE = "take"  # another process takes the build over and ends it; this one then goes on


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind. `code` has two letters and stands in tokens, so it is never used again for another.

    `drivers` and `calls` narrow down the calls that it can strike; empty and None fit all. `text`
    is what the outside says, `status` its own code. `benign` tells that a build must end complete
    in spite of it.
    """

    code: str
    name: str
    act: Act
    at: frozenset[At]
    why: str
    drivers: frozenset[str] = frozenset()
    calls: re.Pattern[str] | None = None
    error: type[BaseException] | None = None
    text: str = ""
    status: int | None = None
    outcome_unknown: bool = False
    benign: bool = False
    forward_only: bool = False

    def fits(self, visit: Visit) -> bool:
        """Whether it can strike here, as far as the point tells."""
        return (
            visit.at in self.at
            and (not self.drivers or visit.driver in self.drivers)
            and (
                self.calls is None
                or not visit.call
                or visit.driver == ANY_WORLD
                or self.calls.match(visit.call) is not None
            )
            and not (visit.driver == ANY_WORLD and self.calls is not None and self.code == "rd")
            and not (self.forward_only and visit.back)
        )

    @property
    def definite(self) -> bool:
        """Whether the run is told for sure that something was not done."""
        return self.act in (Act.RAISE, Act.DOWN) and not self.outcome_unknown

    def make_error(self, mark: str, driver: str = "") -> BaseException:
        """The error as `driver` raises it; `mark` makes it known again in a report."""
        cls = self.error or DriverError
        if cls is DriverError and driver == "volume":
            cls = VolumeServiceError  # as Cinder's driver says it, for no other host is tried then
        text = f"{self.text} {mark}".strip()
        if issubclass(cls, DriverError):
            return cls(text, code=self.status, outcome_unknown=self.outcome_unknown)
        return cls(text)


ANY_WORLD: Final = "world"
"""The one driver of a flow that has nothing to do with machines: whatever its steps act on."""

_STEP_FORWARD: Final = frozenset({At.EXECUTE, At.MADE, At.RECORDED})
_ANY: Final = frozenset(At)
_BEFORE: Final = frozenset({At.CALL_BEFORE})
_BY_HAND: Final = frozenset({At.EXECUTE, At.UNDO, At.WAIT})
# calls that change the world; the others only look
CHANGES: Final = re.compile(
    r"(create|delete|bind|unbind|plug|unplug|define|undefine|start|destroy|connect_|disconnect"
    r"|reserve|unreserve|initialize|terminate|attach|detach)"
)


def _call(
    code: str,
    name: str,
    driver: str,
    error: type[BaseException],
    text: str,
    why: str,
    *,
    status: int | None = None,
    unknown: bool = False,
    calls: re.Pattern[str] | None = CHANGES,
) -> Kind:
    return Kind(
        code, name, Act.RAISE, _BEFORE, why, frozenset({driver}), calls, error, text, status,
        outcome_unknown=unknown,
    )  # fmt: skip


def _hand(code: str, name: str, why: str, act: Act = Act.WORLD) -> Kind:
    return Kind(code, name, act, _BY_HAND, why)


KINDS: Final[tuple[Kind, ...]] = (
    # --- steps ---------------------------------------------------
    Kind("er", "error", Act.RAISE, _STEP_FORWARD | {At.UNDO}, "the step itself fails",
         error=DriverError, text="the step failed"),
    Kind("od", "odd error", Act.RAISE, frozenset({At.MADE, At.UNDO}),
         "an exception that nobody foresaw", error=ValueError, text="nobody foresaw this"),
    Kind("ki", "kill", Act.KILL, _ANY, "kill -9, a power cut, the OOM killer", benign=True),
    Kind("cn", "cancel", Act.STOP, frozenset({At.EXECUTE, At.WAIT}), "buildflow cancel",
         forward_only=True),
    Kind("de", "delete", Act.STOP, frozenset({At.EXECUTE, At.UNDO, At.WAIT}), "buildflow delete"),
    # --- calls: what the real drivers raise ---------------------------------------------------
    _call("c1", "libvirt internal error", "compute", DriverError,
          "internal error: QEMU unexpectedly closed the monitor", "VIR_ERR_INTERNAL_ERROR",
          status=1),
    _call("c5", "libvirt refuses", "compute", Refused,
          "Requested operation is not valid", "VIR_ERR_OPERATION_INVALID", status=55),
    _call("cm", "no memory", "compute", Exhausted, "cannot set up guest memory: Cannot allocate"
          " memory", "another guest took it", status=1, calls=re.compile("start_domain")),
    _call("cb", "libvirt times out", "compute", DriverError,
          "Timed out during operation: cannot acquire state change lock",
          "VIR_ERR_OPERATION_TIMEOUT", status=68, unknown=True),
    _call("v4", "Cinder 404", "volume", NotFound, "Volume could not be found (HTTP 404)",
          "deleted by another, or another project's", status=404),
    _call("v9", "Cinder 409", "volume", Conflict, "Volume status must be available (HTTP 409)",
          "another holds it", status=409),
    _call("v5", "Cinder 500", "volume", DriverError, "The server has either erred (HTTP 500)",
          "its backend or its database", status=500),
    _call("n3", "Neutron 403", "network", Refused, "Policy doesn't allow this (HTTP 403)",
          "these credentials may not", status=403),
    _call("n9", "Neutron 409", "network", NoAddressLeft,
          "No more IP addresses available (HTTP 409)", "the subnet is full", status=409,
          calls=re.compile("create_port|bind_port")),
    _call("n5", "Neutron 500", "network", DriverError, "Request Failed: internal server error"
          " (HTTP 500)", "its database or its agent", status=500),
    _call("i4", "Glance 404", "image", NotFound, "No image found (HTTP 404)",
          "deleted meanwhile", status=404, calls=None),
    _call("i5", "Glance 500", "image", DriverError, "the server failed (HTTP 500)",
          "its store is down", status=500, calls=None),
    Kind("rd", "looking fails", Act.RAISE, _BEFORE, "a read of the world fails: nothing is known",
         calls=re.compile(f"(?!{CHANGES.pattern})"), error=DriverError,
         text="the service did not answer the question (HTTP 503)", status=503),
    # --- calls: what the line does to them ---------------------------------------------------
    Kind("lo", "lost answer", Act.LOSE, frozenset({At.CALL_AFTER}),
         "done, then the connection drops", error=DriverError, text="connection reset by peer",
         outcome_unknown=True),
    Kind("ha", "hang", Act.HANG, _BEFORE, "no answer until the deadline", calls=CHANGES,
         error=DriverError, text="no answer", outcome_unknown=True),
    Kind("sl", "slow", Act.DELAY, _BEFORE, "answered after seconds", calls=CHANGES, benign=True),
    Kind("dn", "service down", Act.DOWN, _BEFORE, "this call fails, and all that follow",
         calls=CHANGES, error=DriverError, text="service unavailable (HTTP 503)", status=503),
    Kind("fd", "full disk", Act.FULL, _BEFORE, "no space left on the host",
         frozenset({"compute"}), re.compile("create_d|create_s")),
    # --- the store ---------------------------------------------------
    Kind("sf", "store fails", Act.STORE, frozenset({At.COMMIT_BEFORE}),
         "the database is gone, locked or full: nothing was written", benign=True),
    Kind("su", "store answer lost", Act.STORE, frozenset({At.COMMIT_AFTER}),
         "it was written, and the answer was lost", benign=True),
    # --- the guest ---------------------------------------------------
    _hand("gc", "guest crashes", "its kernel or its QEMU dies", Act.GUEST),
    _hand("gp", "guest pauses", "virsh suspend, or an I/O error", Act.GUEST),
    _hand("gs", "guest stops", "it powers itself off", Act.GUEST),
    # --- by hand ---------------------------------------------------
    _hand("gu", "domain undefined", "virsh undefine"),
    _hand("dd", "root disk deleted", "rm of the disk"),
    _hand("dr", "directory deleted", "rm -r of the instance's directory"),
    _hand("pr", "port removed", "openstack port delete"),
    _hand("up", "VIF unplugged", "ip link delete"),
    _hand("vd", "volume deleted", "deleted in the backend"),
    _hand("vr", "volume reset", "cinder reset-state, and its attachments deleted"),
    _hand("rs", "secret removed", "virsh secret-undefine"),
    # --- another owner ---------------------------------------------------
    Kind("tk", "taken over", Act.TAKE, _STEP_FORWARD | _BEFORE | {At.UNDO},
         "this process slept, another one ended the build, and now it goes on", calls=CHANGES),
    Kind("tr", "taken over and rolled back", Act.TAKE, _STEP_FORWARD | _BEFORE,
         "the same, and the other one rolled it back", calls=CHANGES, forward_only=True),
    # --- a world of your own ---------------------------------------------------
    Kind("cf", "call fails", Act.RAISE, _BEFORE, "it says no, or breaks; nothing was done",
         frozenset({ANY_WORLD}), error=DriverError, text="the call failed"),
    # a kind's number is in tokens: new ones come last
    Kind("tc", "claimed by another", Act.TAKE, frozenset({At.RECORDED}),
         "another process has taken the build, and has not begun to work on it", benign=True),
)  # fmt: skip

BY_CODE: Final[dict[str, Kind]] = {kind.code: kind for kind in KINDS}
NUMBER: Final[dict[str, int]] = {kind.code: index for index, kind in enumerate(KINDS)}


def kinds_at(visit: Visit, kinds: tuple[Kind, ...] = KINDS) -> tuple[Kind, ...]:
    """The kinds that can strike at this point, as far as its name tells."""
    return tuple(kind for kind in kinds if kind.fits(visit))
