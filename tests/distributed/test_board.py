"""A jobboard of each kind: claims and their keeping, and a server that goes away."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from buildflow.distributed.board import Board, Posting
from buildflow.distributed.board_error import BoardRefused, BoardUnusable
from tests.distributed.conftest import BOARDS, url_of
from tests.lab.services import Redis, Service, ServicePool, ZooKeeper

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


@ALL_BOARDS
def test_a_namesake_has_none_of_its_claims(board_url: str) -> None:
    first, second = (Board(board_url, "a", expiry_s=2.0) for _ in range(2))
    with closing(first), closing(second):
        first.post("build")
        mine, theirs = next_of(first), next_of(second)
        assert first.claim(mine)
        assert not second.claim(theirs)
        assert not second.extend(theirs)
        second.abandon(theirs)
        second.consume(theirs)
        assert second.other_holder("build") == "a"
        assert first.other_holder("build") is None
        assert first.extend(mine)


@ALL_BOARDS
def test_a_claim_whose_answer_was_lost_is_ours(two: tuple[Board, Board]) -> None:
    """Else its own maker would keep it from everybody, itself among them."""
    a, b = two
    a.post("build")
    mine = next_of(a)
    board = a._open()
    if a.kind == "zookeeper":
        board.claim(mine.job, a._claimer)
    else:
        board.claim(mine.job, a._claimer, expiry=2)
    assert a.claim(mine), "asked again, as it was never heard of"
    assert a.extend(mine)
    assert not b.claim(next_of(b))
    a.consume(mine)
    assert b.posted() == set()


@contextmanager
def not_a_board() -> Iterator[int]:
    """The port of a web server that knows nothing of jobs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def greet_and_post(board: Board) -> None:
    board.greet()
    board.post("x")


def test_who_is_not_let_in_is_told_so(
    services_session: ServicePool, redis: Redis, zookeeper: ZooKeeper
) -> None:
    import redis as library

    plain = library.Redis.from_url(redis.url)
    plain.acl_setuser(
        "reader",
        enabled=True,
        passwords=["+w0rd"],
        keys=["*"],
        categories=["+@read"],
        commands=["+ping", "+info"],
    )
    board = f"127.0.0.1:{zookeeper.port}/guarded"
    with closing(Board(f"zookeeper://bob:w0rd@{board}", "owner")) as owner:
        owner.post("build")
    refusals = {
        f"redis://bob:wr0ng@127.0.0.1:{redis.port}/0": "refuses the user or password",
        f"redis://reader:w0rd@127.0.0.1:{redis.port}/0": "refuses: this user has no permissions",
        f"redis://127.0.0.1:{redis.port}/99": "refuses: DB index is out of range",
        f"zookeeper://bob:wr0ng@{board}": "refuses the user or password",
        f"zookeeper://{board}": "refuses the user or password",
    }
    with not_a_board() as port:
        refusals[f"etcd://127.0.0.1:{port}"] = "refuses: Not Found"
        for url, said in refusals.items():
            with closing(Board(url, "me")) as asked, pytest.raises(BoardRefused) as told:
                greet_and_post(asked)
            assert str(told.value).startswith(f"the jobboard {asked.url} {said}")
            assert "w0rd" not in str(told.value)
            assert "wr0ng" not in str(told.value)


@pytest.mark.parametrize("kind", ["redis", "etcd"])
def test_another_service_at_its_port_does_not_answer(kind: str, zookeeper: ZooKeeper) -> None:
    with closing(Board(f"{kind}://127.0.0.1:{zookeeper.port}", "me")) as board:
        with pytest.raises(BoardUnusable) as told:
            board.greet()
        assert "does not answer: " in str(told.value)
        assert "onnection" in str(told.value), "in somebody's words"
        assert not isinstance(told.value, BoardRefused)


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
    a._drop(a._board)  # as after an answer that never came
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
