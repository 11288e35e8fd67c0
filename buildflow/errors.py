"""Every error of buildflow. One root; facts as attributes, the text made from them.

Rules: `exit_code` is what the command line returns for it (design: 1 failed and rolled back, 2 bad
input, 3 residue, 4 host, store or service can't be used, 130 interrupted). `summary` is one line.
Control flow that a step's own `except Exception` must not swallow does not derive from Exception.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from buildflow.redact import without_credentials


class BuildflowError(Exception):
    """Root of what this project raises on purpose."""

    exit_code = 1

    def __str__(self) -> str:
        """Its text; what a library said may quote a URL with a password."""
        return without_credentials(super().__str__())

    @property
    def summary(self) -> str:
        """The error as one line, fit for a terminal."""
        return one_line(self)


# --- yours: the caller or the author of a flow did something that can never work ---------------


class BadInput(BuildflowError):
    """A request that cannot be carried out as it stands; nothing was done."""

    exit_code = 2


class DefinitionError(BuildflowError):
    """A flow, a step or a table contradicts itself; found before anything runs."""

    exit_code = 2


class InvalidTransition(BuildflowError):
    """A move that the tables do not allow; nothing was changed.

    Attributes: `machine` (vm, task, power or joint), `trigger`, `state` found.
    """

    def __init__(self, machine: str, trigger: str, state: object) -> None:
        self.machine, self.trigger, self.state = machine, trigger, state
        super().__init__(f"{machine}: {trigger} is not legal in state {state!r}")


class NotFound(BadInput):
    """No such build, image, network or volume."""


class Conflict(BadInput):
    """The name, address or resource asked for is already in use."""


class Busy(Conflict):
    """Another is just taking or leaving what several may share: it will be free in a moment."""


# --- the world's: a driver, a service, the host ------------------------------------------------


class DriverError(BuildflowError):
    """The outside world refused or failed.

    `outcome_unknown` is True when the answer was lost, so that the world must be asked before
    anything is done again. `code` is the service's own (a libvirt error number, an HTTP status).
    `driver` names who spoke: compute, network, volume, image.
    """

    def __init__(
        self,
        message: str,
        *,
        driver: str = "",
        code: int | None = None,
        outcome_unknown: bool = False,
    ) -> None:
        self.driver, self.code, self.outcome_unknown = driver, code, outcome_unknown
        super().__init__(message)


class Refused(DriverError):
    """The world answered no, and would answer the same again: do not retry here."""


class Exhausted(DriverError):
    """This host has no room for it (memory, disk, addresses, quota): another might."""


class BindingFailed(Refused):
    """A port could not be bound on this host; another host might do (nova: PortBindingFailed)."""


class NoRoom(Exhausted):
    """Hosts that are shared have no room for it now; it may wait until one has."""

    def __init__(self, message: str) -> None:
        super().__init__(message, driver="capacity")


class NoAddressLeft(Exhausted):
    """A subnet is full (nova: NoMoreFixedIps)."""


class QuotaUsedUp(Exhausted):
    """The project may have no more of it (nova: OverQuota)."""


class VolumeServiceError(DriverError):
    """The volume service failed at it, or its answer was lost (nova: InvalidBDM)."""


class GuestDied(DriverError):
    """The guest stopped, crashed or paused while its boot was awaited.

    `console` holds its last console lines.
    """

    def __init__(self, message: str, *, console: Sequence[str] = ()) -> None:
        self.console = tuple(console)
        super().__init__(message, driver="compute")

    def __str__(self) -> str:
        text = super().__str__()
        return text + _console_tail(self.console)


class DeadlineExceeded(DriverError):
    """A wait ended at its deadline. `seconds` is the time it was given, `what` what it awaited."""

    def __init__(
        self, what: str, seconds: float, *, driver: str = "", console: Sequence[str] = ()
    ) -> None:
        self.what, self.seconds, self.console = what, seconds, tuple(console)
        super().__init__(f"no {what} within {seconds:g} s", driver=driver)

    def __str__(self) -> str:
        return super().__str__() + _console_tail(self.console)


class HostUnusable(BuildflowError):
    """The host, hypervisor or service can't be used as it is; nothing was done."""

    exit_code = 4


class HostElsewhere(HostUnusable):
    """This process does not serve the host, and waiting will not change that."""


class OutOfReach(HostUnusable):
    """What a build has made is elsewhere; whoever can reach it is to undo it."""


class HypervisorBusy(HostUnusable):
    """Another process holds the embedded hypervisor's root, and did not let go in time."""


class StoreError(BuildflowError):
    """The store can't be opened, read or written; what it holds is as it was."""

    exit_code = 4


# --- durability: who may write ------------------------------------------------------------------


class StaleOwner(BuildflowError):
    """Another process has taken this build over: this one may not write or make effects."""

    exit_code = 4


class StateConflict(BuildflowError):
    """The instance's row is not in the state that this move starts from (compare-and-set)."""


class FlowChanged(BuildflowError):
    """The flow's definition no longer fits the one that a build was started with.

    `step` is the first step that differs.
    """

    exit_code = 4

    def __init__(self, build: str, step: str, detail: str) -> None:
        self.build, self.step, self.detail = build, step, detail
        super().__init__(
            f"build {build} was started by another version of its flow: {detail}; resume it with"
            " the version that started it, or roll it back with `resume --revert`"
        )


class StopBuild(BaseException):
    """Stops a build at a safe point and rolls it back; user code cannot swallow it by accident.

    `reason` is one of cancelled, deleted, interrupted, deadline; `detail` says who or what.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason, self.detail = reason, detail
        super().__init__(f"{reason}: {detail}" if detail else reason)


class BuildStopped(BuildflowError):
    """How a StopBuild is reported once it has become a step's failure."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason, self.detail = reason, detail
        self.exit_code = 130 if reason == "interrupted" else 1
        super().__init__(f"{reason}: {detail}" if detail else reason)


def _console_tail(lines: Sequence[str], limit: int = 5) -> str:
    tail = [line for line in lines if line.strip()][-limit:]
    return "; last console lines: " + " | ".join(tail) if tail else ""


def one_line(error: BaseException) -> str:
    """What any error says, on one line and without the credentials of a URL in it."""
    return without_credentials(" ".join(str(error).split()))


def fault_dict(error: BaseException, *, step: str = "") -> dict[str, Any]:
    """An error as it is stored and shown: `type`, `message`, `step`, and `code` when it has one."""
    fault: dict[str, Any] = {"type": type(error).__name__, "message": one_line(error)}
    if step:
        fault["step"] = step
    code = getattr(error, "code", None)
    if code is not None:
        fault["code"] = code
    return fault
