"""Each answer that a service has really given, and what it is to us."""

from __future__ import annotations

import json

import pytest
import requests
from cinderclient import exceptions as cinder_exceptions
from keystoneauth1 import exceptions as auth_exceptions
from keystoneauth1.session import Session
from openstack import exceptions as sdk_exceptions

from buildflow.drivers.openstack.ask import ATTEMPTS, ask
from buildflow.drivers.openstack.error_table import (
    ROWS,
    answer_of,
    row_for,
    translate,
)
from buildflow.errors import (
    BuildflowError,
    Conflict,
    DriverError,
    HostUnusable,
    NoAddressLeft,
    NotFound,
    QuotaUsedUp,
    Refused,
    VolumeServiceError,
)


def neutron(status: int, kind: str, message: str = "no") -> sdk_exceptions.HttpException:
    """What openstacksdk raises for an answer of Neutron's."""
    response = requests.Response()
    response.status_code = status
    body = {"NeutronError": {"type": kind, "message": message, "detail": ""}}
    response._content = json.dumps(body).encode()
    response.headers["content-type"] = "application/json"
    response.request = requests.Request("POST", "http://neutron/v2.0/ports").prepare()
    response.url = "http://neutron/v2.0/ports"
    try:
        sdk_exceptions.raise_from_response(response)
    except sdk_exceptions.HttpException as error:
        return error
    raise AssertionError


def cinder(status: int, message: str = "no") -> cinder_exceptions.ClientException:
    """What python-cinderclient raises for an answer of Cinder's."""
    response = requests.Response()
    response.status_code = status
    return cinder_exceptions.from_response(response, {"error": {"message": message}})


@pytest.mark.parametrize(
    ("error", "driver", "becomes", "unknown"),
    [
        (neutron(409, "IpAddressAlreadyAllocated"), "network", Conflict, False),
        (neutron(409, "MacAddressInUse"), "network", Conflict, False),
        (neutron(409, "IpAddressGenerationFailure"), "network", NoAddressLeft, False),
        (neutron(409, "OverQuota"), "network", QuotaUsedUp, False),
        (neutron(409, "Whatever"), "network", Conflict, False),
        (neutron(403, "PolicyNotAuthorized"), "network", Refused, False),
        (neutron(404, "PortNotFound"), "network", NotFound, False),
        (cinder(400), "volume", Refused, False),
        (cinder(401), "volume", Refused, False),
        (cinder(403), "volume", Refused, False),
        (cinder(404), "volume", NotFound, False),
        (cinder(409), "volume", Conflict, False),
        (cinder(413), "volume", QuotaUsedUp, False),
        (cinder(500), "volume", VolumeServiceError, False),
        (cinder(502), "volume", VolumeServiceError, True),
        (cinder(503), "volume", VolumeServiceError, False),
        (cinder(504), "volume", VolumeServiceError, True),
        (neutron(504, ""), "network", DriverError, True),
        (auth_exceptions.ConnectTimeout("slow"), "image", DriverError, True),
        (auth_exceptions.ConnectFailure("reset"), "image", DriverError, True),
        (auth_exceptions.Unauthorized("bad password"), "", HostUnusable, False),
        (auth_exceptions.EndpointNotFound("no cinder"), "volume", HostUnusable, False),
    ],
)
def test_the_table(
    error: Exception, driver: str, becomes: type[BuildflowError], unknown: bool
) -> None:
    ours = translate(error, "do it", driver)
    assert type(ours) is becomes
    assert getattr(ours, "outcome_unknown", False) is unknown
    assert str(ours).startswith("cannot do it: ")


def test_every_row_says_why_and_the_last_takes_all() -> None:
    assert all(row.why for row in ROWS)
    assert row_for(answer_of(RuntimeError("?"))) is ROWS[-1]


def test_a_call_may_read_a_status_in_its_own_way() -> None:
    ours = translate(cinder(400, "status must be available"), "reserve", "volume", {400: Conflict})
    assert type(ours) is Conflict
    assert str(ours) == "cannot reserve: status must be available (HTTP 400)"


def test_passwords_in_an_answer_are_masked() -> None:
    ours = translate(cinder(500, "{'auth_password': 'hush'}"), "attach", "volume")
    assert "hush" not in str(ours)


def test_a_connection_that_was_never_made_is_no_lost_answer() -> None:
    with pytest.raises(DriverError) as caught:
        ask("volume", "reach it", lambda: Session().get("http://127.0.0.1:9/", connect_retries=0))
    assert not caught.value.outcome_unknown
    assert caught.value.code is None


class Calls:
    """A call that raises what it is given, one after the other, then returns."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.made = 0

    def __call__(self) -> str:
        self.made += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def test_only_what_may_be_repeated_is() -> None:
    once = Calls(cinder(500))
    with pytest.raises(VolumeServiceError):
        ask("volume", "create", once)
    assert once.made == 1
    again = Calls(cinder(500), cinder(504), auth_exceptions.ConnectFailure("reset"))
    assert ask("volume", "delete", again, idempotent=True) == "done"
    assert again.made == 4
    always = Calls(*[cinder(500) for _ in range(10)])
    with pytest.raises(VolumeServiceError):
        ask("volume", "delete", always, idempotent=True)
    assert always.made == ATTEMPTS


@pytest.mark.parametrize("status", [400, 403, 404, 409, 413])
def test_a_clear_no_is_never_asked_again(status: int) -> None:
    call = Calls(cinder(status))
    with pytest.raises(BuildflowError):
        ask("volume", "delete", call, idempotent=True)
    assert call.made == 1


@pytest.mark.parametrize("idempotent", [True, False])
def test_a_token_that_was_being_renewed_is_tried_once_more(idempotent: bool) -> None:
    call = Calls(cinder(401))
    assert ask("volume", "create", call, idempotent=idempotent) == "done"
    refused = Calls(cinder(401), cinder(401), cinder(401))
    with pytest.raises(Refused):
        ask("volume", "create", refused, idempotent=idempotent)
    assert refused.made == 2


def test_no_traceback_shows_the_clients_own_error() -> None:
    with pytest.raises(VolumeServiceError) as caught:
        ask("volume", "create", Calls(cinder(500)))
    assert caught.value.__suppress_context__
