"""What a board's client raises: the board is away, or it refuses."""

from __future__ import annotations

import pytest
import redis.exceptions as of_redis
from etcd3gw import exceptions as of_etcd
from kazoo import exceptions as of_kazoo
from taskflow.exceptions import JobFailure

from buildflow.distributed.board_error import BoardRefused, board_error

URL = "redis://h:1/0"


def caused(cause: Exception) -> Exception:
    """As TaskFlow wraps what its client raises."""
    try:
        try:
            raise cause
        except Exception as error:
            raise JobFailure("Failed to communicate") from error
    except JobFailure as failure:
        return failure


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (of_redis.AuthenticationError("invalid username-password pair"), "the user or password"),
        (of_redis.NoPermissionError("this user has no permissions"), "no permissions"),
        (of_redis.ResponseError("DB index is out of range"), "out of range"),
        (of_kazoo.NoAuthError(), "the user or password"),
        (of_etcd.Etcd3Exception('{"error": "etcdserver: user name is empty"}', "Bad Request"),
         "user name is empty"),
    ],
)  # fmt: skip
def test_it_refuses(cause: Exception, said: str) -> None:
    error = board_error(URL, caused(cause))
    assert isinstance(error, BoardRefused)
    assert said in str(error)


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (of_redis.ConnectionError("Connection closed by server."), "closed by server"),
        (of_redis.BusyLoadingError("Redis is loading"), "loading"),
        (of_redis.MasterDownError("Link with MASTER is down"), "MASTER is down"),
        (of_redis.ReadOnlyError("You can't write against a read only replica."), "read only"),
        (of_redis.ResponseError("BUSY Redis is busy running a script."), "busy running"),
        (of_kazoo.ConnectionLoss(), "the connection is lost"),
        (of_etcd.ConnectionFailedError("", ""), "Failed to communicate"),
        (of_etcd.InternalServerError('{"error": "etcdserver: no leader"}', "x"), "no leader"),
        (of_etcd.Etcd3Exception("<html>", "Bad Gateway"), "Bad Gateway"),
        (OSError(111, "Connection refused"), "Connection refused"),
        (TimeoutError(), "silent for 5 s"),
    ],
)
def test_it_is_away(cause: Exception, said: str) -> None:
    error = board_error(URL, caused(cause))
    assert not isinstance(error, BoardRefused)
    assert "does not answer: " in str(error)
    assert said in str(error)
