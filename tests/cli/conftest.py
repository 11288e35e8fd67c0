"""The command line in this process, on a simulated world in a home of the test's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from buildflow.cli import main

BOOTED = ("--wait", "console:BUILDFLOW-GUEST-READY")


@dataclass(frozen=True)
class Ran:
    """One call that has ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


Cli = Callable[..., Ran]


@pytest.fixture
def cli(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """`cli("list", "--json")`."""
    for variable in ("BUILDFLOW_HOME", "BUILDFLOW_LIBVIRT_URI", "BUILDFLOW_STORE", "OS_CLOUD"):
        monkeypatch.delenv(variable, raising=False)

    def call(*words: str) -> Ran:
        capfd.readouterr()
        code = main(["--home", str(tmp_path / "home"), "--compute-driver", "simulated", *words])
        captured = capfd.readouterr()
        return Ran(code, captured.out, captured.err)

    return call


@pytest.fixture
def build(cli: Cli) -> Cli:
    """`build("vm1", ...)`: a simulated machine that boots at once; told in JSON."""

    def call(name: str, *words: str) -> Ran:
        return cli("--json", "build", name, "--image", "cirros", *BOOTED, *words)

    return call
