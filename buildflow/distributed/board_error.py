"""What a jobboard's client library raises, as one line: the board is away, or it refuses.

Libraries are told apart by their errors' names, for a process has only the one that it uses.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from buildflow.distributed.board_url import ANSWER_S
from buildflow.errors import HostUnusable
from buildflow.redact import without_credentials


class BoardUnusable(HostUnusable):
    """The jobboard does not answer; builds that run go on, and it is asked again."""


class BoardRefused(BoardUnusable):
    """The jobboard answers, and will refuse the same again until somebody changes something."""


_CREDENTIALS: Final = "refuses the user or password"

# error class, by name -> what the board did; None: it is told in the server's own words
_REFUSALS: Final[dict[str, str | None]] = {
    # redis
    "AuthenticationError": _CREDENTIALS,
    "AuthorizationError": _CREDENTIALS,
    "NoPermissionError": None,
    "ResponseError": None,
    # TaskFlow, of what redis says of itself
    "IncompatibleVersion": None,
    # kazoo
    "AuthFailedError": _CREDENTIALS,
    "NoAuthError": _CREDENTIALS,
    # etcd3gw: the parent of all, told from those of its children that are of a server in trouble
    "Etcd3Exception": None,
}
# children of those that pass by themselves
_TROUBLE: Final = (
    "MasterDownError", "ClusterDownError", "TryAgainError", "ReadOnlyError",
    "ConnectionFailedError", "ConnectionTimeoutError", "InternalServerError",
)  # fmt: skip
# and how such answers begin that have no class of their own: redis's, and a proxy's before etcd
_PASSING: Final = (
    "BUSY ", "LOADING ", "Too Many Requests", "Bad Gateway", "Service Unavailable",
    "Gateway Time",
)  # fmt: skip

_AWAY: Final[dict[str, str]] = {
    "ConnectionLoss": "the connection is lost",
    "ConnectionClosedError": "the connection is lost",
    "SessionExpiredError": "the session has expired",
    "KazooTimeoutError": f"silent for {ANSWER_S:g} s",
}


def board_error(url: str, error: BaseException) -> BoardUnusable:
    """The error to raise for what a client library raised. `url` has no password in it."""
    for cause in _chain(error):
        names = [kind.__name__ for kind in type(cause).__mro__]
        name = next((each for each in names if each in _TROUBLE or each in _REFUSALS), None)
        if name in _REFUSALS and not str(cause).startswith(_PASSING):
            told = _REFUSALS[name] or f"refuses: {_words(cause)}"
            return BoardRefused(f"the jobboard {url} {told}")
    return BoardUnusable(f"the jobboard {url} does not answer: {_why(error)}")


def _chain(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _why(error: BaseException) -> str:
    """The operating system's own words where it has any: a library's are long and say less."""
    innermost = ""
    for cause in _chain(error):
        if isinstance(cause, TimeoutError):
            return f"silent for {ANSWER_S:g} s"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        if type(cause).__name__ in _AWAY:
            return _AWAY[type(cause).__name__]
        innermost = _words(cause) or innermost
    return innermost or type(error).__name__


def _words(error: BaseException) -> str:
    """What a server said, in one line; etcd's own are beside the HTTP status."""
    text = str(error)
    try:
        said = json.loads(getattr(error, "detail_text", None) or "")
        text = str(said.get("error") or said.get("message") or text)
    except (ValueError, AttributeError):
        pass
    return without_credentials(" ".join(text.split()))
