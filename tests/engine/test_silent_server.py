"""A PostgreSQL that takes connections and says nothing is lost soon, not when TCP gives up."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest

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
