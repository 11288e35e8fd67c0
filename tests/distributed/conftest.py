"""A jobboard of each kind, and a fleet over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.distributed.fleet import Fleet
from tests.lab.services import Etcd, PostgreSQL, Redis, Service, ServicePool, ZooKeeper

BOARDS: dict[str, type[Service]] = {"redis": Redis, "etcd": Etcd, "zookeeper": ZooKeeper}


def url_of(kind: str, service: Service) -> str:
    """The jobboard's URL as buildflow's command line takes it."""
    path = "/0" if kind == "redis" else ""
    return f"{kind}://127.0.0.1:{service.port}{path}"


@pytest.fixture
def board_service(services_session: ServicePool, board_kind: str) -> Iterator[Service]:
    """The running server behind the board, empty."""
    service = services_session.get(BOARDS[board_kind])
    _empty(board_kind, service)
    yield service
    _empty(board_kind, service)


def _empty(kind: str, service: Service) -> None:
    from buildflow.distributed.board import Board

    board = Board(url_of(kind, service), "sweeper")
    for posting in iter(board.next, None):
        if board.claim(posting):
            board.consume(posting)
    board.close()


@pytest.fixture
def new_fleet(
    tmp_path: Path, postgresql: PostgreSQL, board_kind: str, board_service: Service
) -> Iterator[Callable[..., Fleet]]:
    """Makes fleets over an empty PostgreSQL database; each is stopped at the end."""
    with ExitStack() as stack:

        def make(**options: Any) -> Fleet:
            fleet = Fleet(
                tmp_path, postgresql.new_database(), url_of(board_kind, board_service), **options
            )
            return stack.enter_context(fleet)

        yield make
