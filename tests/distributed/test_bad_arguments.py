"""What can't be right gets one line, and nothing is begun."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from buildflow.cli import main

BOARD = "redis://127.0.0.1:1/0"
SIMULATED = "h1=sim:///tmp/world.jsonl"
EMBEDDED = "qemu:///embed?root=/nowhere"

Refused = Callable[..., None]


@pytest.fixture
def refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Refused:
    """Calls the command line, which must refuse with one line that has `said` in it."""
    for variable in ("BUILDFLOW_JOBBOARD", "BUILDFLOW_STORE", "BUILDFLOW_LIBVIRT_URI"):
        monkeypatch.delenv(variable, raising=False)

    def call(*words: str, said: str) -> None:
        home = tmp_path / "home"
        assert main(["--home", str(home), "--compute-driver", "libvirt", *words]) == 2
        out, err = capfd.readouterr()
        assert out == ""
        assert said in err
        assert len(err.splitlines()) == 1
        assert not home.exists(), "nothing is begun"

    return call


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "which jobboard"),
        (["--jobboard", "mysql://h"], "no jobboard"),
        (["--jobboard", BOARD, "--host", ""], "give NAME=URI"),
        (["--jobboard", BOARD, "--host", "h1"], "give NAME=URI"),
        (["--jobboard", BOARD, "--host", f"{SIMULATED},vcpus=0"], "vcpus=0"),
        (["--jobboard", BOARD, "--host", f"{SIMULATED},cores=3"], "cores=3"),
        (["--jobboard", BOARD, "--host", SIMULATED, "--host", SIMULATED], "two hosts are named"),
        (["--jobboard", BOARD, "--host", SIMULATED, "--standby", SIMULATED], "two hosts are named"),
        (
            ["--jobboard", BOARD, "--host", f"a={EMBEDDED}", "--host", f"b={EMBEDDED}"],
            "can run one",
        ),
        (["--jobboard", BOARD, "--host", "h1=xen:///system"], "use qemu:///embed"),
        (["--jobboard", BOARD, "--standby", "h1=xen:///system"], "use qemu:///embed"),
        (["--jobboard", BOARD, "--host", "=sim:///tmp/world.jsonl"], "give NAME=URI"),
        (["--jobboard", BOARD, "--host", f"{SIMULATED},disk=4000000000"], "to 2147483647"),
        (["--jobboard", BOARD, "--host", "h1=sim://"], "names no file"),
        (["--jobboard", BOARD, "--host", "h1=sim:///tmp"], "names no file"),
        (["--jobboard", BOARD, "--host", "h1=sim:/tmp/world.jsonl"], "names no file"),
        (["--jobboard", BOARD, "--host", f"{300 * 'h'}=sim:///tmp/world.jsonl"], "1 to 255"),
        (["--jobboard", BOARD, "--host", SIMULATED, "--name", ""], "--name"),
        (["--jobboard", BOARD, "--host", SIMULATED, "--name", "a\nb"], "--name"),
        (["--jobboard", BOARD, "--host", SIMULATED, "--name", 256 * "n"], "--name"),
        (["--jobboard", BOARD, "--host", "h1=sim:///nowhere/world.jsonl"], "names no file"),
        (["--jobboard", "zookeeper://h:abc", "--host", SIMULATED], "a port is a number"),
        (["--jobboard", "zookeeper://h:1,i:70000", "--host", SIMULATED], "a port is a number"),
        (["--jobboard", BOARD, "--host", SIMULATED, "--expiry", "inf"], "--expiry"),
        (["--jobboard", BOARD, "--host", SIMULATED, "--expiry", "nan"], "--expiry"),
        (["--jobboard", BOARD, "--host", SIMULATED, "--max-builds", "0"], "--max-builds"),
        (["--jobboard", BOARD, "--host", SIMULATED, "--expiry", "0.5"], "--expiry"),
        (["--jobboard", BOARD, "--host", SIMULATED, "--metrics-port", "65536"], "--metrics-port"),
        (["--jobboard", BOARD, "--host", SIMULATED, "--metrics-port", "-1"], "--metrics-port"),
    ],
)
def test_of_a_conductor(words: list[str], said: str, refused: Refused) -> None:
    refused("conductor", *words, said=said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "which jobboard"),
        (["--jobboard", BOARD, "--affinity", ""], "--affinity"),
        (["--jobboard", BOARD, "--affinity", " "], "--affinity"),
        (["--jobboard", BOARD, "--anti-affinity", "a\nb"], "--anti-affinity"),
        (["--jobboard", BOARD, "--anti-affinity", 256 * "g"], "1 to 255"),
        (["--jobboard", BOARD, "--memory", "0"], "--memory"),
        (["--jobboard", BOARD, "--memory", "99999999999"], "at most 16777216, not"),
        (["--jobboard", BOARD, "--affinity", "g", "--anti-affinity", "g"], "together and apart"),
    ],
)
def test_of_a_submission(words: list[str], said: str, refused: Refused) -> None:
    refused("submit", "vm", "--image", "tiny", *words, said=said)


@pytest.mark.parametrize("limit", ["0", "-1"])
def test_of_a_list(limit: str, refused: Refused) -> None:
    refused("jobs", "--limit", limit, said="--limit")
