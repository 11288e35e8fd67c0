"""One call to a service: its errors in our words, and tried again where that is safe.

A call that may be repeated without harm (a read, a delete, an update that sets what it set before)
is tried five times on what may pass, as Nova does for Cinder's 500s and 504s
(nova/volume/cinder.py), and no more once ten seconds have gone: a service that hangs must not hold
a rollback for five times its time-out. Any other call is made once: when its answer is lost the
engine asks the world.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import tenacity

from buildflow.drivers.openstack.error_table import SERVICE_ERRORS, translate
from buildflow.errors import BuildflowError, DriverError, Refused

T = TypeVar("T")

ATTEMPTS: Final = 5
_FIRST_WAIT_S: Final = 0.1
_LONGEST_WAIT_S: Final = 2.0
_ENOUGH_S: Final = 10.0
_TRANSIENT: Final = frozenset({None, 500, 502, 503, 504})


def ask(
    driver: str,
    doing: str,
    call: Callable[[], T],
    *,
    idempotent: bool = False,
    readings: dict[int, type[BuildflowError]] | None = None,
) -> T:
    """What `call` returns. `doing` completes "cannot ..."; `driver` is volume, network or image.

    Raises our errors only (error_table.py), the last one after `ATTEMPTS` tries when `idempotent`.
    """
    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(ATTEMPTS) | tenacity.stop_after_delay(_ENOUGH_S),
        wait=tenacity.wait_exponential(multiplier=_FIRST_WAIT_S, max=_LONGEST_WAIT_S),
        retry=_worth_repeating if idempotent else _token_was_being_renewed,
        reraise=True,
    )
    result: T = retrying(_once, driver, doing, call, readings)
    return result


def _once(
    driver: str,
    doing: str,
    call: Callable[[], T],
    readings: dict[int, type[BuildflowError]] | None,
) -> T:
    try:
        return call()
    except SERVICE_ERRORS as error:
        # the client's own error is left out of the chain: its request may hold a token
        raise translate(error, doing, driver, readings) from None


def _token_was_being_renewed(state: tenacity.RetryCallState) -> bool:
    """A token expired, and another thread had just thrown it away: keystoneauth then takes the 401
    as final (its `invalidate` found nothing to do). The service did nothing; once more is safe.
    """
    error = state.outcome.exception() if state.outcome else None
    return isinstance(error, Refused) and error.code == 401 and state.attempt_number == 1


def _worth_repeating(state: tenacity.RetryCallState) -> bool:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, DriverError) and not isinstance(error, Refused):
        return error.code in _TRANSIENT
    return _token_was_being_renewed(state)
