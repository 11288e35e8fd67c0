"""Credentials of URLs in text: what is left out, what stays, and that every error goes that way."""

from __future__ import annotations

import pytest

from buildflow.errors import DriverError, fault_dict
from buildflow.redact import without_credentials


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://bob:pw@h:1/0", "redis://h:1/0"),
        ("redis://:pw@h:1/0", "redis://h:1/0"),
        ("redis://bob@h:1/0", "redis://h:1/0"),
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://:p/w@h:1/0", "redis://h:1/0"),
        ("POSTGRESQL://b:p@h/d", "POSTGRESQL://h/d"),
        ("at postgresql+psycopg://b:p@w@h/d today", "at postgresql+psycopg://h/d today"),
        ("a://b:c@d then e://f:g@h", "a://d then e://h"),
        ("postgresql://h/d?user=u&password=pw&x=1", "postgresql://h/d?user=u&password=***&x=1"),
        ("qemu+ssh://root@h1/system", "qemu+ssh://root@h1/system"),
        ("qemu+tcp://root:pw@h1/system", "qemu+tcp://root@h1/system"),
        ("qemu:///embed?root=/a", "qemu:///embed?root=/a"),
        ("postgresql+psycopg://USER@HOST/NAME", "postgresql+psycopg://USER@HOST/NAME"),
        ("mail bob@example.org", "mail bob@example.org"),
    ],
)
def test_urls_lose_their_credentials(text: str, shown: str) -> None:
    assert without_credentials(text) == shown


def test_an_error_never_quotes_them() -> None:
    error = DriverError("no answer from redis://:s3cr3t@h:1/0", driver="network")
    assert "s3cr3t" not in str(error) + error.summary
    assert "s3cr3t" not in str(fault_dict(error)) + str(fault_dict(ValueError(error.args[0])))
