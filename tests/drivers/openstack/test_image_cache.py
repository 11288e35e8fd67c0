"""Downloads that break off, against a server that breaks them off."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
import requests

from buildflow.drivers.openstack.image_cache import ATTEMPTS, Checksum, ImageCache
from buildflow.errors import BadInput, DriverError, Exhausted

CONTENT = os.urandom(2 << 20)
SHA = Checksum("sha512", hashlib.sha512(CONTENT).hexdigest())


class Server(ThreadingHTTPServer):
    """Serves CONTENT; `cuts` holds, for each request to come, after how many bytes it hangs up."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.cuts: list[int] = []
        self.ranges = True
        self.asked: list[str | None] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        begin = 0
        if wanted and self.server.ranges:
            begin = int(wanted.removeprefix("bytes=").partition("-")[0])
            if begin >= len(CONTENT):
                self.send_response(416)
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(CONTENT) - 1}/{len(CONTENT)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT) - begin))
        self.end_headers()
        cut = self.server.cuts.pop(0) if self.server.cuts else len(CONTENT)
        self.wfile.write(CONTENT[begin : begin + cut])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    """On loopback, for one test."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def fetch(server: Server, folder: Path, checksum: Checksum | None = SHA) -> bytes:
    """One download through the cache."""
    url = f"http://127.0.0.1:{server.server_port}/"

    def open_from(offset: int) -> requests.Response:
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        return requests.get(url, headers=headers, stream=True, timeout=5)

    with ImageCache(folder).entry("one", "raw", lambda seconds: time.sleep(seconds / 10)) as entry:
        if not entry.is_complete(len(CONTENT)):
            entry.fill(
                open_from,
                size=len(CONTENT),
                checksum=checksum,
                accept=lambda path: None,
                what="image one",
            )
        return entry.path.read_bytes()


def left(folder: Path) -> list[str]:
    """What is there but locks."""
    return sorted(file.name for file in folder.iterdir() if not file.name.endswith(".lock"))


def test_it_goes_on_where_it_broke_off(server: Server, tmp_path: Path) -> None:
    server.cuts = [1 << 20, 1000, 0, 5]
    assert fetch(server, tmp_path) == CONTENT
    assert server.asked[:2] == [None, f"bytes={1 << 20}-"]
    assert len(server.asked) == 5
    assert left(tmp_path) == ["one.raw"]


def test_it_starts_again_where_the_server_knows_no_ranges(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.cuts = [1 << 20, 1 << 19]
    assert fetch(server, tmp_path) == CONTENT


def test_it_gives_up_and_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.cuts = [1 << 20] + [0] * 100
    with pytest.raises(DriverError, match=f"broke off at {1 << 20} of {len(CONTENT)} bytes"):
        fetch(server, tmp_path)
    assert len(server.asked) == 1 + ATTEMPTS
    assert left(tmp_path) == []


def test_a_wrong_checksum_leaves_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DriverError, match="damaged: size or md5"):
        fetch(server, tmp_path, Checksum("md5", "0" * 32))
    assert left(tmp_path) == []


def test_a_file_that_somebody_has_changed_is_fetched_again(server: Server, tmp_path: Path) -> None:
    fetch(server, tmp_path)
    (tmp_path / "one.raw").write_bytes(b"short")
    assert fetch(server, tmp_path) == CONTENT


def test_what_is_not_accepted_leaves_nothing(server: Server, tmp_path: Path) -> None:
    def refuse(path: Path) -> None:
        assert path.read_bytes() == CONTENT
        raise BadInput("not safe")

    with ImageCache(tmp_path).entry("one", "raw", time.sleep) as entry, pytest.raises(BadInput):
        entry.fill(
            lambda offset: requests.get(
                f"http://127.0.0.1:{server.server_port}/", stream=True, timeout=5
            ),
            size=len(CONTENT),
            checksum=SHA,
            accept=refuse,
            what="image one",
        )
    assert left(tmp_path) == []


def test_a_full_disk_is_said_and_leaves_nothing(server: Server, tmp_path: Path) -> None:
    class FullDisk:
        status_code = 200
        headers: ClassVar[dict[str, str]] = {}

        def iter_content(self, size: int) -> Iterator[bytes]:
            yield b"x"
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            pass

    with (
        ImageCache(tmp_path).entry("two", "raw", time.sleep) as entry,
        pytest.raises(Exhausted, match="no room for image two"),
    ):
        entry.fill(
            lambda offset: FullDisk(),
            size=2,
            checksum=None,
            accept=lambda p: None,
            what="image two",
        )
    assert left(tmp_path) == []
