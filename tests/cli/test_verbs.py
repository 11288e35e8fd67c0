"""The table of verbs: it says what the modules register, and names a module that is there."""

from __future__ import annotations

import importlib
from importlib.util import find_spec

import pytest
import typer

from buildflow.cli.application import make_application
from buildflow.cli.verbs import VERBS, Verb
from tests.cli.conftest import Cli

THERE = [verb for verb in VERBS if find_spec(verb.module) is not None]


@pytest.mark.parametrize("verb", THERE, ids=[verb.name for verb in THERE])
def test_its_module_registers_it(verb: Verb) -> None:
    app = typer.Typer()
    importlib.import_module(verb.module).register(app)
    commands = {command.name for command in app.registered_commands}
    groups = {group.name for group in app.registered_groups}
    assert verb.name in commands | groups


@pytest.mark.parametrize("verb", THERE, ids=[verb.name for verb in THERE])
def test_its_help_can_be_read(verb: Verb, cli: Cli) -> None:
    ran = cli(verb.name, "--help")
    assert ran.code == 0
    assert f"buildflow {verb.name}" in ran.out
    assert ran.err == ""


def test_help_lists_every_verb(cli: Cli) -> None:
    ran = cli("--help")
    assert ran.code == 0
    for verb in THERE:
        assert f" {verb.name} " in ran.out
        assert verb.summary in " ".join(ran.out.replace("│", " ").split())


def test_only_the_verb_that_is_called_is_loaded() -> None:
    app = make_application("list")
    loaded = {
        command.name
        for command in app.registered_commands
        if command.callback is not None and command.callback.__name__ != "_unloaded"
    }
    assert loaded == {"list"}


def test_names_are_unique() -> None:
    names = [verb.name for verb in VERBS]
    assert len(names) == len(set(names))
