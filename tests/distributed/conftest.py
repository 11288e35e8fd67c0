"""A jobboard of each kind, and a fleet over it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.distributed.fleet import Fleet
from tests.distributed.warm import Warm
from tests.lab.services import Etcd, PostgreSQL, Redis, Service, ServicePool, ZooKeeper

BOARDS: dict[str, type[Service]] = {"redis": Redis, "etcd": Etcd, "zookeeper": ZooKeeper}
ALL_BOARDS = tuple(BOARDS)

_NUMBERS = itertools.count(1)


def url_of(kind: str, service: Service) -> str:
    """The URL of an empty jobboard as buildflow's command line takes it."""
    if not isinstance(service, Redis):
        return f"{kind}://127.0.0.1:{service.port}/board{next(_NUMBERS)}"
    import redis

    redis.Redis.from_url(service.url).flushdb()
    return f"redis://127.0.0.1:{service.port}/0"


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """Where conductors and verbs start from."""
    with Warm() as warm:
        yield warm


@pytest.fixture
def board_service(services_session: ServicePool, board_kind: str) -> Service:
    """The running server behind the board."""
    return services_session.get(BOARDS[board_kind])


@pytest.fixture
def board_url(board_kind: str, board_service: Service) -> str:
    """An empty board of one kind."""
    return url_of(board_kind, board_service)


@pytest.fixture
def new_fleet(
    tmp_path: Path, postgresql: PostgreSQL, services_session: ServicePool, warm: Warm
) -> Iterator[Callable[..., Fleet]]:
    """Makes fleets over an empty database and an empty board; each is stopped at the end."""
    with ExitStack() as stack:

        def make(board: str = "redis", **options: Any) -> Fleet:
            home = tmp_path / f"fleet{next(_NUMBERS)}"
            home.mkdir()
            url = url_of(board, services_session.get(BOARDS[board]))
            fleet = Fleet(home, postgresql.new_database(), url, warm=warm, **options)
            return stack.enter_context(fleet)

        yield make
