"""A jobboard of each kind: claims and their keeping, and a server that goes away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from buildflow.distributed.board import Board, BoardUnusable, Posting
from tests.distributed.conftest import BOARDS, url_of
from tests.lab.services import Service, ServicePool

pytestmark = pytest.mark.services

ALL_BOARDS = pytest.mark.parametrize("board_kind", list(BOARDS))


@contextmanager
def two_of(url: str) -> Iterator[tuple[Board, Board]]:
    """The same board, seen by two."""
    boards = [Board(url, who, expiry_s=2.0) for who in ("a", "b")]
    yield boards[0], boards[1]
    for board in boards:
        board.close()


@pytest.fixture
def two(board_url: str) -> Iterator[tuple[Board, Board]]:
    """An empty board, seen by two."""
    with two_of(board_url) as two:
        yield two


def next_of(board: Board) -> Posting:
    """The next job, however long it takes to be read."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        found = board.next()
        if found is not None:
            return found
        time.sleep(0.05)
    raise AssertionError("no job")


@ALL_BOARDS
def test_one_has_it_until_it_gives_it_up(two: tuple[Board, Board]) -> None:
    a, b = two
    a.post("build")
    mine, theirs = next_of(a), next_of(b)
    assert mine.build == theirs.build == "build"
    assert a.claim(mine)
    assert not b.claim(theirs)
    assert b.holders({"build"}) == {"build": ["a"]}
    assert not b.extend(theirs)
    b.consume(theirs)
    b.abandon(theirs)
    assert a.extend(mine), "what b tried changes nothing"
    a.abandon(mine)
    assert b.claim(theirs)
    assert not a.extend(mine)
    b.consume(theirs)
    assert a.posted() == set()


def test_a_claim_is_kept_beyond_its_expiry_also_when_claimed_again(
    services_session: ServicePool,
) -> None:
    urls = [url_of(kind, services_session.get(BOARDS[kind])) for kind in BOARDS]

    def keep(url: str) -> None:
        with two_of(url) as (a, b):
            a.post("build")
            mine = next_of(a)
            for _ in range(2):
                assert a.claim(mine)
                end = time.monotonic() + 3.0
                while time.monotonic() < end:
                    assert a.extend(mine)
                    assert not b.claim(next_of(b))
                    time.sleep(0.4)
                a.abandon(mine)
            assert b.claim(next_of(b))

    with ThreadPoolExecutor(len(urls)) as pool:
        list(pool.map(keep, urls))


@ALL_BOARDS
def test_a_claim_is_kept_over_a_new_connection(two: tuple[Board, Board]) -> None:
    a, b = two
    a.post("build")
    mine = next_of(a)
    assert a.claim(mine)
    a._drop()  # as after an answer that never came
    assert a.extend(mine)
    assert b.holders({"build"}) == {"build": ["a"]}


@ALL_BOARDS
def test_a_claim_that_expired_is_lost_for_sure(two: tuple[Board, Board]) -> None:
    a, b = two
    a.post("build")
    mine = next_of(a)
    if a.kind == "zookeeper":  # there it goes with the session
        assert b.holders({"build"}) == {}
        return
    assert a.claim(mine)
    end = time.monotonic() + 10
    while b.holders({"build"}) and time.monotonic() < end:
        time.sleep(0.2)
    assert not a.extend(mine)


@ALL_BOARDS
def test_a_board_that_is_away_is_not_empty_and_is_told_in_a_line(
    two: tuple[Board, Board], board_service: Service
) -> None:
    a, b = two
    a.post("build")
    assert a.posted() == b.posted() == {"build"}
    assert a.count() == 1
    board_service.kill9()
    try:
        begun = time.monotonic()
        for question in (a.posted, a.count, lambda: b.post("other"), lambda: next_of(b)):
            with pytest.raises(BoardUnusable) as told:
                question()
            assert str(told.value).startswith(f"the jobboard {a.url} does not answer: ")
            assert len(str(told.value)) < 150
        assert time.monotonic() - begun < 45
    finally:
        board_service.start()
    end = time.monotonic() + 30
    while True:
        try:
            assert a.posted() >= {"build"}
        except BoardUnusable:
            assert time.monotonic() < end
            time.sleep(0.2)
        else:
            return
