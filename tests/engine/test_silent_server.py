"""A PostgreSQL that takes connections and says nothing is lost soon, not when TCP gives up."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import make_url

from buildflow.engine import journal
from buildflow.engine.clock import SystemClock
from buildflow.engine.owner import describe_self
from buildflow.engine.store import Store
from buildflow.errors import StoreError
from tests.lab.services import PostgreSQL


def test_a_server_that_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        begun = time.monotonic()
        with pytest.raises(StoreError, match="the store postgresql"):
            Store(f"postgresql+psycopg://nobody@127.0.0.1:{port}/none")
        assert time.monotonic() - begun < 20


@pytest.mark.services
def test_what_is_told_to_libpq(postgresql: PostgreSQL) -> None:
    for suffix, wanted in (("", "10000"), ("?tcp_user_timeout=7000&options=-c%20jit=off", "7000")):
        store = Store(postgresql.new_database() + suffix)
        try:
            connection = store.engine.raw_connection()
            driver: Any = connection.driver_connection
            told = driver.info.get_parameters()
            assert told["tcp_user_timeout"] == wanted
            assert (told["keepalives_idle"], told["connect_timeout"]) == ("5", "5")
            assert "idle_in_transaction_session_timeout" in told["options"]
            assert ("jit=off" in told["options"]) == bool(suffix)
            connection.close()
        finally:
            store.close()


class Line:
    """A line to a server that can be cut: then those on it are ended, and new ones hear nothing."""

    def __init__(self, port: int) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._far, self.port = port, int(self._server.getsockname()[1])
        self._ends: list[socket.socket] = []
        self._whole = True
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            self._ends.append(near)
            if not self._whole:
                continue
            far = socket.create_connection(("127.0.0.1", self._far))
            self._ends.append(far)
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    @staticmethod
    def _carry(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        self._whole = False
        self._end_all()

    def mend(self) -> None:
        self._whole = True
        self._end_all()

    def close(self) -> None:
        self._server.close()
        self._end_all()

    def _end_all(self) -> None:
        ends, self._ends = self._ends, []
        for each in ends:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@pytest.mark.services
@pytest.mark.slow
def test_commits_wait_for_one_that_says_nothing_together(
    postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as for one that refuses; not each of them for its own connection, one by one."""
    url = make_url(postgresql.new_database())
    assert url.port is not None
    line = Line(url.port)
    store = Store(url.set(port=line.port).render_as_string(hide_password=False))
    try:
        owners = [describe_self(SystemClock(), 30) | {"id": f"o{number}"} for number in range(10)]
        store.register_owner(owners[0])
        line.cut()
        with ThreadPoolExecutor(10) as pool:
            begun = time.monotonic()
            waiting = [pool.submit(store.register_owner, owner) for owner in owners]
            time.sleep(12)
            line.mend()
            for each in waiting:
                each.result(30)
            assert time.monotonic() - begun < 25, "all were written once it spoke again"
            assert store.owner("o9") is not None
            monkeypatch.setattr(journal, "PATIENCE_S", 4.0)
            line.cut()
            begun = time.monotonic()
            lost = [pool.submit(store.register_owner, owner) for owner in owners]
            for each in lost:
                with pytest.raises(StoreError):
                    each.result(90)
            assert time.monotonic() - begun < 30, "those that came later wait once more"
    finally:
        line.close()
        store.close()
