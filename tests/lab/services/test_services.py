"""The services keep what they acknowledged through a kill, and leave no process behind."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.directories import open_directory
from tests.lab.services import Etcd, PostgreSQL, Redis, Service, ServicePool, ZooKeeper

pytestmark = pytest.mark.services


@pytest.fixture
def directory() -> Iterator[Path]:
    with open_directory() as path:
        yield path


def sql(service: Service, statement: str) -> Any:
    import psycopg

    with psycopg.connect(service.url.replace("+psycopg", ""), autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchone()[0] if cursor.description else None  # type: ignore[index]


def use_postgresql(service: Service) -> Callable[[], bool]:
    sql(service, "CREATE TABLE kept (value text)")
    sql(service, "INSERT INTO kept VALUES ('yes')")
    return lambda: sql(service, "SELECT value FROM kept") == "yes"


def use_redis(service: Service) -> Callable[[], bool]:
    import redis

    client = redis.Redis.from_url(service.url)
    client.set("kept", "yes")
    return lambda: client.get("kept") == b"yes"


def use_etcd(service: Service) -> Callable[[], bool]:
    import etcd3gw

    client = etcd3gw.client(host="127.0.0.1", port=service.port, api_path="/v3/")
    client.put("kept", "yes")
    return lambda: bool(client.get("kept") == [b"yes"])


def use_zookeeper(service: Service) -> Callable[[], bool]:
    from kazoo.client import KazooClient

    def client() -> Any:
        made = KazooClient(f"127.0.0.1:{service.port}")
        made.start(30)
        return made

    first = client()
    first.create("/kept", b"yes")
    first.stop()
    first.close()

    def kept() -> bool:
        again = client()
        try:
            return bool(again.get("/kept")[0] == b"yes")
        finally:
            again.stop()
            again.close()

    return kept


SERVICES = [
    (PostgreSQL, use_postgresql),
    (Redis, use_redis),
    (Etcd, use_etcd),
    (ZooKeeper, use_zookeeper),
]


@pytest.mark.parametrize(("kind", "use"), SERVICES)
def test_what_was_acknowledged_survives_a_kill(
    kind: type[Service], use: Callable[[Service], Callable[[], bool]], directory: Path
) -> None:
    service = kind(directory)
    with service:
        kept = use(service)
        assert kept()
        first = service.pid
        service.kill9()
        assert not service.alive
        service.start()
        assert service.pid != first
        assert kept()
        service.restart()
        assert kept()
        last = service.pid
    assert not service.alive
    assert not Path(f"/proc/{last}").exists()


def test_each_database_is_new_and_empty(directory: Path) -> None:
    with PostgreSQL(directory, fsync=True) as server:
        first, second = server.new_database(), server.new_database()
        assert first != second
        assert sql(server, "SHOW fsync") == "on"


def test_two_of_a_kind_run_at_once(directory: Path) -> None:
    with Redis(directory / "a") as first, Redis(directory / "b") as second:
        assert first.port != second.port
        kept = use_redis(first)
        second.kill9()
        assert kept()


def test_a_pool_starts_each_server_once_and_again_after_a_kill(directory: Path) -> None:
    with ServicePool(directory) as pool:
        server = pool.get(Redis)
        assert pool.get(Redis) is server
        server.kill9()
        assert pool.get(Redis).alive
    assert not server.alive


def test_the_fixtures_give_running_servers(
    postgresql_url: str, redis: Redis, etcd: Etcd, zookeeper: ZooKeeper
) -> None:
    assert postgresql_url.startswith("postgresql+psycopg://")
    assert all(service.alive for service in (redis, etcd, zookeeper))
