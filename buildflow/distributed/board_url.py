"""A jobboard's URL, as TaskFlow's name and configuration for it."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote, urlsplit

from buildflow.errors import BadInput
from buildflow.redact import without_credentials

# a server that is silent for so long is gone: no claim is kept while we wait for it
ANSWER_S: Final = 5.0

_PORTS: Final = {"redis": 6379, "etcd": 2379, "zookeeper": 2181}
_KINDS: Final = {
    "redis": "redis", "rediss": "redis", "etcd": "etcd", "etcds": "etcd",
    "zookeeper": "zookeeper", "zk": "zookeeper",
}  # fmt: skip


def board_conf(url: str) -> tuple[str, dict[str, Any]]:
    """TaskFlow's name and configuration for a jobboard's URL. Raises BadInput for any other."""
    shown = without_credentials(url)
    try:
        parts = urlsplit(url)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
    except ValueError:
        raise BadInput(f"{shown!r} is no URL of a jobboard") from None
    kind = _KINDS.get(parts.scheme)
    if kind is None:
        raise BadInput(
            f"{shown!r} is no jobboard: use redis://HOST:PORT/DB, etcd://HOST:PORT or"
            " zookeeper://HOST:PORT"
        )
    if parts.query or parts.fragment or "@" in parts.path:
        raise BadInput(
            f"{shown!r}: a jobboard's URL has no part after ? or #; write such a character, and any"
            " / or @ of a password, with its percent code (%3F, %23, %2F, %40)"
        )
    path = parts.path.strip("/")
    if kind == "zookeeper":
        hosts = parts.netloc.rpartition("@")[2]
        if any(":" in each and not _is_port(each.rpartition(":")[2]) for each in hosts.split(",")):
            raise BadInput(f"{shown!r}: a port is a number from 1 to 65535")
        return kind, _zookeeper(hosts, path, user, password)
    try:
        host, port = parts.hostname or "127.0.0.1", parts.port or _PORTS[kind]
    except ValueError:
        raise BadInput(f"{shown!r}: a port is a number from 1 to 65535") from None
    if kind == "redis":
        return kind, _redis(shown, host, port, path, user, password, parts.scheme == "rediss")
    if user or password:
        raise BadInput(f"{shown!r}: etcd's jobboard takes no user or password; leave them out")
    return kind, {
        "host": host, "port": port, "path": path or "buildflow", "timeout": ANSWER_S,
        "protocol": "https" if parts.scheme == "etcds" else "http", "api_path": "/v3/",
    }  # fmt: skip


def _is_port(text: str) -> bool:
    return text.isdecimal() and 1 <= int(text) <= 65535


def _redis(
    shown: str, host: str, port: int, path: str, user: str, password: str, encrypted: bool
) -> dict[str, Any]:
    conf: dict[str, Any] = {
        "host": host, "port": port, "namespace": "buildflow",
        "socket_timeout": ANSWER_S, "socket_connect_timeout": ANSWER_S,
    }  # fmt: skip
    if path:
        if not path.isdigit():
            raise BadInput(f"{shown!r}: a redis database is a number")
        conf["db"] = int(path)
    if user:
        conf["username"] = user
    if password:
        conf["password"] = password
    if encrypted:
        conf["ssl"] = True
    return conf


def _zookeeper(hosts: str, path: str, user: str, password: str) -> dict[str, Any]:
    """Several hosts, with commas between, are one ensemble."""
    conf: dict[str, Any] = {
        "hosts": hosts or f"127.0.0.1:{_PORTS['zookeeper']}",
        "path": f"/{path or 'buildflow'}",
        # asking its version takes a four-letter word that ZooKeeper refuses unless told otherwise
        "check_compatible": False,
    }
    if user or password:
        conf["digest"] = (user, password)
    return conf
