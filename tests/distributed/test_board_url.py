"""A jobboard's URL: what each part means, and one line for what is none."""

from __future__ import annotations

from typing import Any

import pytest

from buildflow.distributed.board_url import board_conf
from buildflow.errors import BadInput


@pytest.mark.parametrize(
    ("url", "kind", "wanted"),
    [
        ("redis://", "redis", {"host": "127.0.0.1", "port": 6379}),
        ("redis://h:1/7", "redis", {"host": "h", "port": 1, "db": 7}),
        ("rediss://b:p%2Fw@h", "redis", {"username": "b", "password": "p/w", "ssl": True}),
        ("etcd://h", "etcd", {"host": "h", "port": 2379, "protocol": "http", "path": "buildflow"}),
        ("etcds://h:1/mine", "etcd", {"port": 1, "protocol": "https", "path": "mine"}),
        ("zookeeper://a:1,b:2/mine", "zookeeper", {"hosts": "a:1,b:2", "path": "/mine"}),
        ("zk://u:p%40w@a", "zookeeper", {"hosts": "a", "digest": ("u", "p@w")}),
    ],
)
def test_the_parts_of_a_url(url: str, kind: str, wanted: dict[str, Any]) -> None:
    found, conf = board_conf(url)
    assert found == kind
    assert {name: conf[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("mysql://bob:s3cr3t@h/db", "'mysql://h/db' is no jobboard: use redis://HOST"),
        ("h:6379", "is no jobboard"),
        ("redis://h:port", "a port is a number"),
        ("redis://h:99999", "a port is a number"),
        ("redis://h/zero", "a redis database is a number"),
        ("redis://:s3/cr3t@h", "percent code"),
        ("redis://:s3#cr3t@h", "percent code"),
        ("etcd://bob:s3cr3t@h", "takes no user or password"),
        ("redis://[::1", "is no URL"),
    ],
)
def test_what_is_none_is_refused_without_its_password(url: str, complaint: str) -> None:
    with pytest.raises(BadInput) as refused:
        board_conf(url)
    assert complaint in str(refused.value)
    assert "cr3t" not in str(refused.value)
