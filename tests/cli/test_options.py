"""The common options: in front, wherever they were typed."""

from __future__ import annotations

import pytest

from buildflow.cli.options import FLAGS, WITH_VALUE, first_word, hoist


@pytest.mark.parametrize(
    ("typed", "hoisted"),
    [
        (["list", "--json"], ["--json", "list"]),
        (["list", "--home", "/a"], ["--home", "/a", "list"]),
        (["list", "--home=/a", "--all"], ["--home=/a", "list", "--all"]),
        (["--json", "show", "x", "-q"], ["--json", "-q", "show", "x"]),
        (["show", "--", "--json"], ["show", "--", "--json"]),
        (["list", "--home"], ["--home", "list"]),
        (["build", "x", "--homeless", "1"], ["build", "x", "--homeless", "1"]),
        ([], []),
    ],
)
def test_hoist(typed: list[str], hoisted: list[str]) -> None:
    assert hoist(typed) == hoisted


@pytest.mark.parametrize(
    ("words", "verb"),
    [
        (["--home", "list", "show"], "show"),
        (["--home=/a", "--json", "list"], "list"),
        (["--help"], None),
        ([], None),
    ],
)
def test_first_word(words: list[str], verb: str | None) -> None:
    assert first_word(words) == verb


def test_every_common_option_of_the_application_is_hoisted() -> None:
    import inspect

    from buildflow.cli.application import _common

    names = set(inspect.signature(_common).parameters) - {"ctx", "version", "as_json"}
    options = {"--" + name.replace("_", "-") for name in names} | {"--json"}
    assert options == (WITH_VALUE | FLAGS) - {"-q"}


def test_before_the_verb_and_after_it_are_the_same(cli: object) -> None:
    assert callable(cli)
    for words in (("--json", "list"), ("list", "--json")):
        ran = cli(*words)
        assert (ran.code, ran.document) == (0, [])
