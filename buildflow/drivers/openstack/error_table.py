"""Which of our errors each answer of an OpenStack service is, as data. The first row that fits
decides.

Statuses alone do not tell: a 409 of Neutron may be a taken address (the caller's), a full subnet or
a quota (the world's). The body's `type` tells, where the service sends one. A 500 says that the
server failed, not what it had done by then; a gateway's 502 or 504, like a dropped connection, says
nothing at all about the server, so that the world must be asked before anything is done again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from cinderclient import exceptions as cinder_exceptions
from keystoneauth1 import exceptions as auth_exceptions
from openstack import exceptions as sdk_exceptions
from oslo_utils import strutils
from urllib3 import exceptions as urllib3_exceptions

from buildflow.errors import (
    BuildflowError,
    Conflict,
    DriverError,
    Exhausted,
    HostUnusable,
    NoAddressLeft,
    NotFound,
    QuotaUsedUp,
    Refused,
    VolumeServiceError,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service said. `status` is None when no answer came; `kind` is the body's error type,
    or the name of the exception where no body came; `sent` is False when the request cannot have
    reached the service.
    """

    status: int | None
    kind: str
    text: str
    sent: bool = True


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """Answers with `status` and one of `kinds`. None and an empty set fit everything."""

    becomes: type[BuildflowError]
    status: int | None = None
    kinds: frozenset[str] = frozenset()
    sent: bool | None = None
    outcome_unknown: bool = False
    why: str = ""

    def fits(self, answer: Answer) -> bool:
        """Whether this row speaks of such an answer."""
        return (
            (self.status is None or self.status == answer.status)
            and (not self.kinds or answer.kind in self.kinds)
            and (self.sent is None or self.sent == answer.sent)
        )


def _row(
    becomes: type[BuildflowError],
    status: int | None = None,
    *kinds: str,
    why: str,
    sent: bool | None = None,
    outcome_unknown: bool = False,
) -> ErrorRow:
    return ErrorRow(becomes, status, frozenset(kinds), sent, outcome_unknown, why)


KEYSTONE_SAYS_NO: Final = "KeystoneUnauthorized"

ROWS: Final[tuple[ErrorRow, ...]] = (
    _row(Conflict, 409, "IpAddressAlreadyAllocated", "IpAddressInUse", "MacAddressInUse",
         "PortInUse", why="the address or port asked for is another's"),
    _row(NoAddressLeft, 409, "IpAddressGenerationFailure", "NoMoreFixedIps",
         "ExternalIpAddressExhausted", why="the subnet has no address left"),
    _row(QuotaUsedUp, 409, "OverQuota", "QuotaExceeded", why="the project's quota is used up"),
    _row(Conflict, 409, why="another holds it, or it is not in a state for this"),
    _row(QuotaUsedUp, 413, why="Cinder's quota"),
    _row(Exhausted, 429, why="a rate limit"),
    _row(Refused, 400, why="the service cannot do what was asked for, as things stand"),
    _row(HostUnusable, 401, KEYSTONE_SAYS_NO, why="Keystone takes these credentials no more"),
    _row(Refused, 401, why="the service takes this token, or the service token with it, no more"),
    _row(Refused, 403, why="these credentials may not"),
    _row(NotFound, 404, why="it is not there, or not this project's"),
    _row(Refused, 405, why="this service does not do that"),
    _row(Refused, 406, why="this service has no such API version"),
    _row(Refused, 412, why="it was changed by someone else meanwhile"),
    _row(Refused, 501, why="this service does not do that"),
    _row(DriverError, 502, why="a gateway lost the server", outcome_unknown=True),
    _row(DriverError, 504, why="a gateway gave up; the server may act yet", outcome_unknown=True),
    _row(DriverError, 503, why="nobody served the request"),
    _row(DriverError, 500, why="the server failed at it; it may pass"),
    _row(HostUnusable, None, "EndpointNotFound", "CatalogException", "EmptyCatalog",
         "UnsupportedVersion", "NotSupported", "DiscoveryFailure",
         why="the cloud does not offer this service"),
    _row(HostUnusable, None, "MissingRequiredOptions", "MissingAuthPlugin", "NoMatchingPlugin",
         "ConfigException", "AuthorizationFailure", why="the credentials are not complete"),
    _row(DriverError, None, sent=False, why="no connection: the service never saw the request"),
    _row(DriverError, None, why="the answer was lost", outcome_unknown=True),
)  # fmt: skip

# Raised before any connection stood, so that the request cannot have been carried out.
_NEVER_SENT: Final = (
    urllib3_exceptions.NewConnectionError,
    urllib3_exceptions.ConnectTimeoutError,
    urllib3_exceptions.ProxyError,
)

SERVICE_ERRORS: Final = (
    cinder_exceptions.ClientException,
    cinder_exceptions.EndpointNotFound,
    cinder_exceptions.UnsupportedVersion,
    auth_exceptions.ClientException,
    sdk_exceptions.SDKException,
)
"""What the clients raise, each for its own service."""


def answer_of(error: BaseException) -> Answer:
    """What the service said, read from what its client raised."""
    status = getattr(error, "status_code", None) or getattr(error, "http_status", None)
    if status is None and isinstance(error, cinder_exceptions.ClientException):
        status = error.code
    kind, text = type(error).__name__, str(error)
    if isinstance(error, sdk_exceptions.HttpException):
        kind = _neutron_type(error) or kind
        text = " ".join(str(error.details or error.message).split())
    elif isinstance(error, cinder_exceptions.ClientException):
        text = str(error.message)
    elif isinstance(error, auth_exceptions.Unauthorized):
        kind = KEYSTONE_SAYS_NO  # a service's own 401 comes as its client's exception
    return Answer(
        status=int(status) if status else None,
        kind=kind,
        # a service has no reason to send a password back in an error, but it is not ours to trust
        text=strutils.mask_password(" ".join(text.split())),
        sent=not _never_sent(error),
    )


def row_for(answer: Answer) -> ErrorRow:
    """The table's row for an answer."""
    return next(row for row in ROWS if row.fits(answer))


def translate(
    error: BaseException,
    doing: str,
    driver: str,
    readings: dict[int, type[BuildflowError]] | None = None,
) -> BuildflowError:
    """Our error for what a client raised: `doing`, and the service's own words, with its status.

    `readings` overrides the table for a call to which a status means something of its own (Cinder
    says 400 when a volume is not available, which is a conflict).
    """
    answer = answer_of(error)
    row = row_for(answer)
    becomes = (readings or {}).get(answer.status or 0, row.becomes)
    said = answer.text or answer.kind
    message = f"cannot {doing}: {said}" + (f" (HTTP {answer.status})" if answer.status else "")
    if becomes is DriverError and driver == "volume":
        becomes = VolumeServiceError
    if issubclass(becomes, DriverError):
        return becomes(
            message, driver=driver, code=answer.status, outcome_unknown=row.outcome_unknown
        )
    return becomes(message)


def _neutron_type(error: Any) -> str:
    """`NeutronError.type` of the body: the only thing that tells Neutron's 409s apart."""
    try:
        body = json.loads(error.response.text)
        return str(body["NeutronError"]["type"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return ""


def _never_sent(error: BaseException) -> bool:
    """Whether the chain of causes holds an error that only a connection being opened can raise.

    keystoneauth raises ConnectFailure and ConnectTimeout for lost answers as well, so that its own
    class does not tell.
    """
    seen: set[int] = set()
    queue: list[Any] = [error]
    while queue:
        current = queue.pop()
        if id(current) in seen or not isinstance(current, BaseException):
            continue
        seen.add(id(current))
        if isinstance(current, _NEVER_SENT):
            return True
        queue += [current.__cause__, current.__context__, getattr(current, "reason", None)]
        queue += [arg for arg in current.args if isinstance(arg, BaseException)]
    return False
