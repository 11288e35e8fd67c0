"""The pytest plugin, as a stranger uses it: pytest in a process and a folder of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
EXAMPLE = REPOSITORY / "examples" / "test_order.py"


def run_pytest(folder: Path, text: str, *words: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--strict-markers"]
    return subprocess.run(
        [*command, *words, "test_it.py"], cwd=folder, capture_output=True, text=True, check=False,
        timeout=120, env={**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{folder}"},
    )  # fmt: skip


FORGETFUL = """
import pytest
from tests.faults.orders import Shop, forgetful_flow, order_flow

{mark}
def test_it(faults):
    faults({flow}, world=Shop)
"""


def test_the_entry_point_names_the_plugin() -> None:
    names = {each.value for each in entry_points(group="pytest11")}
    assert "buildflow.faults.pytest_plugin" in names


def test_the_example_passes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", str(EXAMPLE)],
        cwd=EXAMPLE.parent, capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_the_example_is_a_handful_of_lines_beside_its_flow() -> None:
    _, _, tests = EXAMPLE.read_text().partition("def test_order")
    first = [line for line in tests.split("\n\n\n")[0].splitlines() if line.strip()]
    assert len(first) <= 5


def test_a_broken_flow_fails_with_a_story_and_a_token_that_replays(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, FORGETFUL.format(mark="", flow="forgetful_flow"))
    assert done.returncode == 1, done.stdout
    assert re.search(r"\d+ of \d+ scenarios of own broke a rule", done.stdout)
    # which of the faults that show it is told depends on which was tried first
    assert re.search(r"^1\. [a-z ]+ at [a-z_/.]+:[a-z]+, in ", done.stdout, re.MULTILINE)
    assert re.search(r"broken rule `gone`: charged/[0-9a-f-]+ is left", done.stdout)
    assert "Traceback" not in done.stdout
    tokens = re.findall(r'replay="(b1\.own\.[^"]+)"', done.stdout)
    assert tokens
    for token in tokens:
        assert len(token) <= 80
        mark = f'@pytest.mark.faults(replay="{token}")'
        again = run_pytest(tmp_path, FORGETFUL.format(mark=mark, flow="forgetful_flow"))
        assert again.returncode == 1, again.stdout
        assert "broken rule" in again.stdout
        # and once the mistake is corrected the same plan is survived
        mended = run_pytest(tmp_path, FORGETFUL.format(mark=mark, flow="order_flow"))
        assert mended.returncode == 0, mended.stdout


MISTAKES = {
    'deep=2': "the mark `faults` has no option 'deep'",
    'only=["earthquake"]': "no kind of fault is called 'earthquake'",
    'replay="b9.x"': "is not a token of this version",
    'replay="b1.own.____.0000"': "names a kind of fault that this version does not know",
}  # fmt: skip


@pytest.mark.parametrize(("options", "text"), list(MISTAKES.items()))
def test_a_mistake_in_the_mark_is_told_in_one_line(tmp_path: Path, options: str, text: str) -> None:
    mark = f"@pytest.mark.faults({options})"
    done = run_pytest(tmp_path, FORGETFUL.format(mark=mark, flow="order_flow"))
    assert done.returncode == 1
    assert text in done.stdout
    assert "Traceback" not in done.stdout


def test_nothing_is_imported_until_a_test_asks(tmp_path: Path) -> None:
    text = """
import sys

def test_it():
    assert not {"taskflow", "networkx", "sqlalchemy"} & set(sys.modules)
    assert "buildflow.faults.pytest_plugin" in sys.modules
"""
    done = run_pytest(tmp_path, text)
    assert done.returncode == 0, done.stdout


def test_the_mark_is_listed(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "", "--markers")
    assert "@pytest.mark.faults(depth=1, only=None, workers=2, replay=None)" in done.stdout


def test_a_flow_of_plain_tasks_is_explored_too(tmp_path: Path) -> None:
    text = """
import pytest
from tests.faults.plain_flows import Bucket, Cloud, boot_miniature, careful_flow

# a service that stays down: such a flow has no list of what is left
@pytest.mark.faults(only=["error", "kill", "call fails", "lost answer"])
def test_careful(faults):
    faults(careful_flow, world=Bucket)

def test_boot(faults):
    faults(boot_miniature, world=Cloud)
"""
    done = run_pytest(tmp_path, text)
    assert done.returncode == 1
    assert "1 failed, 1 passed" in done.stdout
    assert "volumes/volume-1 is left" in done.stdout
