"""Credentials in URLs are not shown: not in text, not in `ps`."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from buildflow.cli.conceal import concealed
from buildflow.distributed.board import board_conf
from buildflow.distributed.redact import text_without_credentials, without_credentials
from buildflow.errors import BadInput


def test_urls_lose_their_credentials() -> None:
    assert without_credentials("redis://bob:pw@h:1/0") == "redis://h:1/0"
    assert without_credentials("redis://h:1/0") == "redis://h:1/0"
    text = "can't reach postgresql+psycopg://bob:s3@cr3t@h/db today"
    assert "cr3t" not in text_without_credentials(text)


def test_a_board_that_is_none_is_refused_without_its_password() -> None:
    with pytest.raises(BadInput, match="is no jobboard") as refused:
        board_conf("mysql://bob:s3cr3t@h/db")
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        (["jobs", "--store", "postgresql://u:p@h/d"], ["jobs"]),
        (["--store=postgresql://u:p@h/d", "jobs"], ["jobs"]),
        (["jobs", "--jobboard", "redis://:p@h"], ["jobs"]),
    ],
)
def test_options_with_credentials_move_into_the_environment(
    arguments: list[str], kept: list[str]
) -> None:
    found = concealed(arguments)
    assert found is not None
    assert found[0] == kept
    assert "p@h" in "".join(found[1].values())


def test_options_without_credentials_stay() -> None:
    assert concealed(["jobs", "--store", "sqlite:////x", "--jobboard", "redis://h"]) is None


def test_ps_never_shows_a_password_for_long(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [
            sys.executable, "-m", "buildflow", "conductor", "--home", str(tmp_path),
            "--host", f"h=sim://{tmp_path}/w", "--jobboard", "redis://:s3cr3t@127.0.0.1:1/0",
        ],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        end = time.monotonic() + 20
        while b"s3cr3t" in Path(f"/proc/{process.pid}/cmdline").read_bytes():
            assert time.monotonic() < end
            time.sleep(0.05)
        time.sleep(3)
    finally:
        process.terminate()
        said = process.communicate(timeout=30)[1]
    assert b"does not answer" in said
    assert b"s3cr3t" not in said
