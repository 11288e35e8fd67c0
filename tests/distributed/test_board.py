"""A jobboard of each kind: claims, their keeping, and that a long board is as quick as a short."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from buildflow.distributed.board import Board, Posting
from tests.distributed.conftest import url_of
from tests.lab.services import Service

pytestmark = pytest.mark.services

ALL_BOARDS = pytest.mark.parametrize("board_kind", ["redis", "etcd", "zookeeper"])


@pytest.fixture
def two(board_kind: str, board_service: Service) -> Iterator[tuple[Board, Board]]:
    """The same board, seen by two."""
    boards = [Board(url_of(board_kind, board_service), who, expiry_s=2.0) for who in ("a", "b")]
    yield boards[0], boards[1]
    for board in boards:
        board.close()


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


@ALL_BOARDS
def test_a_claim_is_kept_beyond_its_expiry_also_when_claimed_again(
    two: tuple[Board, Board],
) -> None:
    a, b = two
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


@ALL_BOARDS
def test_a_claim_is_kept_over_a_restart_of_the_board(
    two: tuple[Board, Board], board_service: Service
) -> None:
    a, b = two
    a.post("build")
    mine = next_of(a)
    assert a.claim(mine)
    a._drop()  # as after an answer that never came
    assert a.extend(mine)
    assert b.holders({"build"}) == {"build": ["a"]}


@ALL_BOARDS
@pytest.mark.slow
def test_the_curve_stays_flat(two: tuple[Board, Board]) -> None:
    """Posting and claiming a job among 100 and among 1,000; bench/scale.py goes on to 10,000."""
    a, _ = two
    curve: dict[int, tuple[float, float]] = {}
    posted = 0
    for size in (100, 1000):
        while posted < size:
            a.post(f"b{posted}")
            posted += 1
        begun = time.perf_counter()
        for i in range(50):
            a.post(f"extra{size}-{i}")
        posting = (time.perf_counter() - begun) / 50
        next_of(a)  # the reading is counted apart: it is shared by all claims that follow
        begun = time.perf_counter()
        for _ in range(50):
            found = next_of(a)
            assert a.claim(found)
            a.consume(found)
        curve[size] = (posting * 1e3, (time.perf_counter() - begun) / 50 * 1e3)
    print("ms to post, ms to claim and consume:", curve)
    for before, after in zip(curve[100], curve[1000], strict=True):
        assert after < 4 * before + 10


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
