"""Options whose URL holds credentials leave the command line; other places refuse them."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildflow.cli.conceal import concealed
from buildflow.cli.main import main

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        (["jobs", "--store", "postgresql://u:p@h/d"], ["jobs"]),
        (["--store=postgresql://u:p@h/d", "jobs"], ["jobs"]),
        (["--store=postgresql://h/d?password=p@h", "jobs"], ["jobs"]),
        (["jobs", "--jobboard", "redis://:p@h"], ["jobs"]),
        (["jobs", "--jobboard", "redis://:p/p@h"], ["jobs"]),
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


@pytest.mark.parametrize(
    "arguments",
    [
        ["list", "--store", f"postgresql+psycopg://bob:{SECRET}@127.0.0.1:port/db"],
        ["list", "--store", f"postgresql+psycopg://bob:{SECRET}@127.0.0.1:1/db"],
        ["list", "--store", f"postgresql+psycopg://127.0.0.1:1/db?user=u&password={SECRET}"],
        ["list", "--store", f"nodb://bob:{SECRET}@h/db"],
        ["list", "--connect", f"qemu+tcp://bob:{SECRET}@127.0.0.1:1/system"],
        ["jobs", "--jobboard", f"redis://:{SECRET}@127.0.0.1:port/0"],
        ["jobs", "--jobboard", f"redis://:a/{SECRET}@127.0.0.1:1/0"],
        ["jobs", "--jobboard", f"etcd://bob:{SECRET}@127.0.0.1:1"],
        ["jobs", "--jobboard", f"nothing://:{SECRET}@h"],
        ["conductor", "--jobboard", "redis://h", "--host", f"h=qemu+tcp://b:{SECRET}@h/system"],
    ],
)
def test_no_complaint_repeats_a_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert main([*arguments, "--home", str(tmp_path)]) in (2, 4)
    told = "".join(capsys.readouterr())
    assert told.startswith("buildflow: ")
    assert told.count("\n") == 1
    assert SECRET not in told
