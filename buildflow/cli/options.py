"""The options of every verb. They may stand before the verb or after it.

`hoist` moves them in front, where the one callback of the application reads them. So a verb's
author need not repeat them, and typer's own parsing and messages serve for both places.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

# options that take a value, then those that do not
WITH_VALUE: Final = frozenset(
    {
        "--home", "--connect", "--store", "--os-cloud", "--os-service-cloud", "--compute-driver",
        "--network-driver", "--volume-driver", "--image-driver", "--volume-api", "--volume-attach",
        "--virt-type", "--hypervisor-wait",
    }
)  # fmt: skip
FLAGS: Final = frozenset({"--json", "--quiet", "-q"})


def hoist(arguments: Sequence[str]) -> list[str]:
    """`arguments` with the common options in front; what follows `--` stays where it is."""
    front: list[str] = []
    rest: list[str] = []
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            rest += ["--", *waiting]
            break
        name, equals, _ = word.partition("=")
        if word in FLAGS or (equals and name in WITH_VALUE):
            front.append(word)
        elif name in WITH_VALUE:
            front.append(word)
            if waiting:
                front.append(waiting.pop(0))
        else:
            rest.append(word)
    return [*front, *rest]


def first_word(arguments: Sequence[str]) -> str | None:
    """The verb in hoisted arguments, None when there is none."""
    skip = False
    for word in arguments:
        if skip:
            skip = False
        elif word in WITH_VALUE:
            skip = True
        elif not word.startswith("-"):
            return word
    return None
