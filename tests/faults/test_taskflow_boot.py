"""What docs/faults.md says of plain TaskFlow flows is what the kit prints of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
DOCUMENT = (REPOSITORY / "docs" / "faults.md").read_text()
_TOOK = re.compile(r"decided in [\d.]+ (s|min)")


def run(flow: str, *words: str) -> subprocess.CompletedProcess[str]:
    """The documented command, in the documented folder."""
    named = ["--flow", f"faults_taskflow_boot:{flow}", "--world", "faults_taskflow_boot:Cloud"]
    return subprocess.run(
        [sys.executable, "-m", "buildflow", "faults", "run", *named, *words],
        cwd=REPOSITORY / "examples", capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip


def documented(flow: str) -> list[str]:
    """What the document shows below the command."""
    _, _, after = DOCUMENT.partition(f"$ buildflow faults run --flow faults_taskflow_boot:{flow} ")
    block, _, _ = after.partition("\n\n")
    return [_TOOK.sub("decided", line.removeprefix("    ")) for line in block.splitlines()[1:]]


def test_the_published_example_leaves_what_it_made() -> None:
    ran = run("published")
    assert ran.returncode == 1, ran.stderr
    *table, dots, last = documented("published")
    assert dots == "..."
    assert _TOOK.sub("decided", ran.stdout).splitlines() == table
    assert ran.stderr.splitlines()[-1] == last
    story = [
        line.removeprefix("    ") for line in DOCUMENT.splitlines() if "lost answer at" in line
    ]
    assert story
    assert set(story) <= set(ran.stderr.splitlines())


def test_its_broken_rules_are_those_that_are_told() -> None:
    document = json.loads(run("published", "--json").stdout)
    rules = Counter(rule for each in document["violations"] for rule in each["rules"])
    words = f"Of the {len(document['violations'])}, {rules['gone']} broke the rule `gone`"
    assert f"{words} and {rules['complete']} the rule `complete`." in DOCUMENT
    assert set(rules) == {"gone", "complete"}


def test_a_careful_flow_breaks_no_rule() -> None:
    ran = run("careful")
    assert ran.returncode == 0, ran.stderr
    assert _TOOK.sub("decided", ran.stdout).splitlines() == documented("careful")


def test_a_revert_that_fails_is_more_than_a_careful_flow_can_bear() -> None:
    document = json.loads(run("careful", "--depth", "2", "--only", "call fails", "--json").stdout)
    assert f"each of its {document['pairs']} pairs breaks a rule" in DOCUMENT
    assert len(document["violations"]) == document["pairs"]
    assert all(len(each["faults"]) == 2 for each in document["violations"])
