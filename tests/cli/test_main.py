"""From any error to one line and an exit code; a defect of ours does not pretend to be another."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from buildflow.cli import main
from buildflow.cli.main import DEFECT
from buildflow.errors import (
    BadInput,
    BuildflowError,
    FlowChanged,
    HypervisorBusy,
    StaleOwner,
    StoreError,
)
from tests.cli.conftest import Cli

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadInput("no"), 2),
        (StoreError("no"), 4),
        (HypervisorBusy("no"), 4),
        (StaleOwner("no"), 4),
        (FlowChanged("b", "s", "d"), 4),
        (OSError(28, "No space left on device", "/somewhere"), 4),
        (ZeroDivisionError("no"), DEFECT),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_an_error_is_one_line_and_its_code(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    def fail(*_: object) -> int:
        raise error

    monkeypatch.setattr("buildflow.engine.show.listed", fail)
    for words in (("list",), ("list", "--json")):
        ran = cli(*words)
        assert ran.code == code
        assert len(ran.err.splitlines()) == 1
        assert ran.err.startswith("buildflow: ")
        if "--json" in words:
            document = ran.document["error"]
            assert document["exit_code"] == code
            assert ran.err == f"buildflow: {document['message']}\n"
            if isinstance(error, BuildflowError):
                assert document["type"] == type(error).__name__
        else:
            assert ran.out == ""


def test_a_signal_to_a_verb_that_makes_nothing(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> list[object]:
        os.kill(os.getpid(), signal.SIGTERM)
        return []

    monkeypatch.setattr("buildflow.engine.show.listed", interrupted)
    ran = cli("list", "--json")
    assert (ran.code, ran.err) == (130, "buildflow: interrupted; nothing was done\n")
    assert ran.document["error"]["exit_code"] == 130
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("frobnicate",), "No such command 'frobnicate'"),
        (("list", "--frob"), "No such option: --frob"),
        (("show",), "Missing argument 'ID'"),
        (("build", "vm", "--memory", "x"), "--memory"),
        (("list", "--limit", "0"), "--limit"),
        (("list", "--volume-api", "x"), "use auto or attachments or legacy"),
        (("list", "--store", "nodatabase://x"), "--store is no URL of a database"),
    ],
)
def test_bad_usage_is_one_line(cli: Cli, words: tuple[str, ...], told: str) -> None:
    ran = cli(*words)
    assert ran.code == 2
    assert told in ran.err
    assert len(ran.err.splitlines()) == 1


def test_alone_it_prints_its_help(capfd: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    captured = capfd.readouterr()
    assert "Usage: buildflow" in captured.out
    assert captured.err == ""


def test_a_stores_password_is_not_repeated(cli: Cli) -> None:
    ran = cli("list", "--store", "postgresql+psycopg://u:s3cret@127.0.0.1:1/none")
    assert ran.code == 4
    assert "s3cret" not in ran.err + ran.out


def test_a_reader_that_has_read_enough_changes_nothing(tmp_path: Path) -> None:
    ended = piped_to_nobody(tmp_path, "diagram", "flow", "--format", "json")
    assert ended == (0, "")


def test_a_failure_that_nobody_reads_is_one_all_the_same(tmp_path: Path) -> None:
    code, _ = piped_to_nobody(
        tmp_path, "--json", "--quiet", "build", "vm", "--image", "cirros", "--inject", "to_xml"
    )
    assert code == 1


def piped_to_nobody(home: Path, *words: str) -> tuple[int, str]:
    read, write = os.pipe()
    os.close(read)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "buildflow", "--home", str(home), "--compute-driver",
             "simulated", *words],
            stdout=write, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY, check=False,
        )  # fmt: skip
    finally:
        os.close(write)
    return ended.returncode, ended.stderr


def test_json_is_json_whatever_happens(cli: Cli) -> None:
    for words in (("show", "none"), ("build",), ("frob",), ("diagram", "call", "--build", "none")):
        ran = cli("--json", *words)
        assert json.loads(ran.out)["error"]["exit_code"] == 2
