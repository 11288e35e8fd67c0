"""Start-up: `import buildflow` under 0.3 s, `buildflow --help` under 0.5 s; nothing heavy early."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
HEAVY = ("taskflow", "sqlalchemy", "networkx", "libvirt", "openstack", "pydantic", "eventlet")
TRIES = 5


def python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONWARNINGS": ""},
    )


@pytest.mark.parametrize(
    ("words", "limit_s"),
    [(("-c", "import buildflow"), 0.3), (("-m", "buildflow", "--help"), 0.5)],
    ids=["import", "help"],
)
def test_it_is_quick(words: tuple[str, ...], limit_s: float) -> None:
    took = []
    for _ in range(TRIES):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        python(*words)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # processor time: it loads modules in one thread, and others may keep this host busy
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(took) < limit_s, took


def test_nothing_heavy_is_imported_for_help() -> None:
    code = (
        "import sys; from buildflow.cli import main; main(['--help']);"
        f"print([m for m in {HEAVY!r} if sys.modules.get(m)], file=sys.stderr)"
    )
    assert python("-c", code).stderr.strip() == "[]"


def test_looking_needs_no_flow_and_no_driver(tmp_path: Path) -> None:
    code = (
        f"import sys; from buildflow.cli import main; main(['--home', {str(tmp_path)!r}, 'list']);"
        "print([m for m in ('taskflow', 'networkx', 'libvirt') if m in sys.modules],"
        " file=sys.stderr)"
    )
    assert python("-c", code).stderr.strip() == "[]"


def test_no_library_warns_on_the_terminal(tmp_path: Path) -> None:
    home = ["--home", str(tmp_path), "--compute-driver", "simulated"]
    ran = python(
        "-m", "buildflow", *home, "--quiet", "build", "vm", "--image", "cirros",
        "--wait", "console:BUILDFLOW-GUEST-READY",
    )  # fmt: skip
    assert (ran.stdout, ran.stderr) == ("", "")


def test_the_library_itself_is_silent(tmp_path: Path) -> None:
    ran = python("-c", "import buildflow; buildflow.open; import buildflow.flows.build")
    assert (ran.stdout, ran.stderr) == ("", "")
