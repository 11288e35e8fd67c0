"""A password in a URL is in no log, no job, no listing and no error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from buildflow.config import Settings
from buildflow.distributed.board import Board
from buildflow.distributed.board_error import BoardUnusable
from buildflow.distributed.hosts import offered, parse_host
from buildflow.errors import BadInput
from tests.distributed.fleet import Fleet
from tests.distributed.warm import Warm
from tests.lab.services import PostgreSQL, Redis

SECRET = "s3cr3t-w0rd"


@pytest.fixture
def guarded(redis: Redis) -> Iterator[str]:
    """The redis server asks for a password; its URL with it."""
    import redis as library

    plain = library.Redis.from_url(redis.url)
    plain.config_set("requirepass", SECRET)
    try:
        yield f"redis://:{SECRET}@127.0.0.1:{redis.port}/0"
    finally:
        library.Redis.from_url(redis.url, password=SECRET).config_set("requirepass", "")


@pytest.mark.services
@pytest.mark.slow
def test_no_password_is_ever_shown(
    tmp_path: Path, postgresql: PostgreSQL, redis: Redis, guarded: str, warm: Warm
) -> None:
    import redis as library

    store = postgresql.new_database().replace("buildflow@", f"buildflow:{SECRET}@")
    with Fleet(tmp_path, store, guarded, warm=warm) as fleet:
        build = fleet.call("submit", "vm", "--image", "tiny", "--memory", "64")["id"]
        posted = library.Redis.from_url(redis.url, password=SECRET)
        kept: list[Any] = [posted.dump(key) for key in posted.keys("buildflow*")]
        assert any(build.encode() in each for each in kept)
        assert not any(SECRET.encode() in each for each in kept)
        # as somebody would who knows no better: with both URLs on the command line
        pid = fleet.start("a", arguments=["--jobboard", guarded, "--store", store], cold=True)
        fleet.until(fleet.all_ended, "end", 60)
        seen = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert b"conductor" in seen
        assert SECRET.encode() not in seen
        redis.kill9()
        fleet.until(lambda: fleet.says("a", "does not answer"), "trouble with the board", 30)
        redis.start()
        posted.config_set("requirepass", SECRET)
        postgresql.restart()
        fleet.submit("after", memory_mib=64)
        fleet.until(fleet.all_ended, "end", 60)
        for verb in ("hosts", "jobs", "list"):
            assert SECRET not in str(fleet.call(verb))
        assert SECRET not in fleet.log("a")
        assert SECRET not in str(fleet.engine.show(build))


@pytest.mark.services
@pytest.mark.slow
def test_a_wrong_password_is_told_and_nothing_is_begun(
    tmp_path: Path, postgresql: PostgreSQL, guarded: str, warm: Warm
) -> None:
    wrong = guarded.replace(SECRET, "wr0ng")
    with Fleet(tmp_path, postgresql.new_database(), wrong, warm=warm) as fleet:
        for words in (
            ("submit", "vm", "--image", "tiny"),
            ("conductor", "--host", f"h1=sim://{fleet.world_path}"),
        ):
            code, out, err = fleet.run(*words)
            assert (code, out) == (4, "")
            (line,) = err.splitlines()
            assert "refuses the user or password" in line
            assert "wr0ng" not in line
        assert fleet.call("list") == []
        assert fleet.call("hosts") == []


def test_a_board_that_is_away_is_named_without_its_password() -> None:
    board = Board(f"redis://bob:{SECRET}@127.0.0.1:1/0", "me")
    with pytest.raises(BoardUnusable) as told:
        board.post("x")
    assert "redis://127.0.0.1:1/0 does not answer" in str(told.value)
    assert SECRET not in str(told.value)
    assert SECRET not in repr(told.value.__dict__)


def test_a_host_keeps_its_user_and_takes_no_password(tmp_path: Path) -> None:
    host = parse_host("h=qemu+ssh://root@far/system,vcpus=1,memory=64,disk=1")
    assert offered(host, Settings(home=tmp_path)).uri == "qemu+ssh://root@far/system"
    with pytest.raises(BadInput, match="no password") as told:
        parse_host(f"h=qemu+ssh://root:{SECRET}@far/system")
    assert SECRET not in str(told.value)
