"""The manual and the README name verbs, options and files that are there, and every verb."""

from __future__ import annotations

import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

from buildflow.cli.main import DEFECT
from buildflow.cli.options import FLAGS, WITH_VALUE
from buildflow.cli.verbs import VERBS
from buildflow.errors import BadInput, BuildflowError, HostUnusable, StoreError
from tests.cli.conftest import Cli

REPOSITORY = Path(__file__).parents[2]
MANUAL = REPOSITORY / "docs" / "cli.md"
README = REPOSITORY / "README.md"
THERE = [verb for verb in VERBS if find_spec(verb.module) is not None]
COMMON = WITH_VALUE | FLAGS


def options_of(cli: Cli, *words: str) -> set[str]:
    ran = cli(*words, "--help")
    assert ran.code == 0, f"{words}: {ran.err}"
    return set(re.findall(r"--[a-z][a-z-]+", ran.out)) - {"--help"}


def inner_verbs(cli: Cli, verb: str) -> list[str]:
    """The verbs of a group, as its help lists them."""
    text = cli(verb, "--help").out
    _, found, rest = text.partition("Commands ─")
    return re.findall(r"│ ([a-z]+) ", rest) if found else []


@pytest.mark.parametrize("verb", VERBS, ids=[verb.name for verb in VERBS])
def test_each_verb_has_its_section_with_an_example(verb: object) -> None:
    name = verb.name  # type: ignore[attr-defined]
    section = re.search(rf"(?ms)^### {name}$(.*?)(?=^##|\Z)", MANUAL.read_text())
    assert section is not None
    assert f"buildflow {name}" in section.group(1)


@pytest.mark.parametrize("verb", THERE, ids=[verb.name for verb in THERE])
def test_the_manual_names_each_option(verb: object, cli: Cli) -> None:
    name = verb.name  # type: ignore[attr-defined]
    if name == "faults":
        return  # it has a manual of its own
    text = MANUAL.read_text()
    ways = [(name,), *((name, inner) for inner in inner_verbs(cli, name))]
    missing = {o for way in ways for o in options_of(cli, *way) if f"{o}" not in text}
    assert missing == set()


def test_the_manual_names_each_common_option() -> None:
    text = MANUAL.read_text()
    assert [option for option in COMMON if f"`{option}" not in text] == []


def commands() -> list[tuple[str, list[str]]]:
    """Every `buildflow ...` in the code blocks of README and manual."""
    found = []
    for document in (README, MANUAL):
        text = document.read_text().replace("\\\n", " ")
        lines = re.findall(r"(?m)^    (?:\$ )?buildflow ([^\n]*)$", text)
        found += [(document.name, shlex.split(line, comments=True)) for line in lines]
    return found


@pytest.mark.parametrize(
    ("document", "words"), commands(), ids=[" ".join(words) for _, words in commands()]
)
def test_a_command_that_is_shown_can_be_typed(document: str, words: list[str], cli: Cli) -> None:
    verb = words[0]
    if verb == "VERB" or verb not in {each.name for each in THERE}:
        assert verb in {"VERB", *(each.name for each in VERBS)}, f"{document}: no verb {verb}"
        return
    inner = inner_verbs(cli, verb)
    way = [verb, words[1]] if inner else [verb]
    if inner:
        assert words[1] in inner
    known = options_of(cli, *way) | COMMON
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known


def test_links_lead_somewhere() -> None:
    for document in (README, MANUAL):
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_exit_codes_are_those_of_the_errors() -> None:
    text = MANUAL.read_text()
    told = {int(code) for code in re.findall(r"(?m)^\| (\d+) \|", text)}
    used = {BuildflowError.exit_code, BadInput.exit_code, HostUnusable.exit_code}
    used |= {StoreError.exit_code, 0, 3, 130, DEFECT}
    assert told == used
    in_readme = {int(code) for code in re.findall(r"(?m)^\| (\d+) \|", README.read_text())}
    assert in_readme == told - {DEFECT}


def test_the_readmes_python_runs(tmp_path: Path) -> None:
    (block,) = re.findall(r"(?ms)^```python\n(.*?)^```", README.read_text())
    code = block.replace(
        '"/var/lib/machines"', repr(str(tmp_path)) + ', compute_driver="simulated"'
    )
    code = code.replace("guest.qcow2", "cirros").replace("engine.build(", "engine.build(wait=W, ")
    scope: dict[str, object] = {"W": "console:BUILDFLOW-GUEST-READY"}
    exec(compile(code, "README.md", "exec"), scope)
    assert scope["vm"]["status"] == "complete"  # type: ignore[index]
