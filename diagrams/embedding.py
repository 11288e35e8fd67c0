"""Pictures inside Markdown, kept fresh: a marked place is filled with what the definitions say now.

    <!-- buildflow: flow flow=mypackage.flows:make_flow format=mermaid -->
    <!-- /buildflow -->

`python -m buildflow.diagrams.embedding README.md` fills every such place, and with `--check` only
says whether one is out of date. The words are those of `draw`: a kind, then option=value.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from buildflow.diagrams.drawing import draw
from buildflow.diagrams.mermaid import without_facts
from buildflow.errors import BadInput, BuildflowError

_PLACE: Final = re.compile(
    r"^(?P<open> {0,3}<!-- buildflow: (?P<words>.*?) -->)$"
    r".*?"
    r"^(?P<close> {0,3}<!-- /buildflow -->)$",
    re.MULTILINE | re.DOTALL,
)
_OPTIONS: Final = ("format", "style", "depth", "machine", "flow")
_FENCES: Final = {"text": "text", "mermaid": "mermaid", "dot": "dot", "json": "json"}


def refreshed(markdown: str) -> str:
    """`markdown` with every marked place filled anew. Raises BadInput for words it can't follow."""
    return _PLACE.sub(_fill, markdown)


def _fill(match: re.Match[str]) -> str:
    kind, *words = match.group("words").split()
    options: dict[str, Any] = {"format": "mermaid"}
    for word in words:
        name, equals, value = word.partition("=")
        if name not in _OPTIONS or not equals:
            known = ", ".join(f"{option}=..." for option in _OPTIONS)
            raise BadInput(
                f"`<!-- buildflow: {match.group('words')} -->`: {word!r} is none of {known}"
            )
        options[name] = int(value) if name == "depth" and value.isdecimal() else value
    if options["format"] not in _FENCES:
        raise BadInput(f"{options['format']} can't stand in Markdown: use {', '.join(_FENCES)}")
    picture = draw(kind, **options).decode()
    if options["format"] == "mermaid":
        picture = without_facts(picture)
    fence = _FENCES[options["format"]]
    return f"{match.group('open')}\n```{fence}\n{picture}```\n{match.group('close')}"


def refresh(path: Path, *, check: bool = False) -> bool:
    """Fill the places in a file; returns whether it was out of date.

    With `check` nothing is written. Raises BadInput when the file can't be read or written.
    """
    try:
        before = path.read_text(encoding="utf-8")
        after = refreshed(before)
        if after != before and not check:
            path.write_text(after, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: {error}") from None
    return after != before


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module. Exit code 1 when `--check` finds a place out of date."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    check = "--check" in words
    stale = []
    try:
        for name in (word for word in words if word != "--check"):
            if refresh(Path(name), check=check):
                stale.append(name)
                print(f"{name}: {'out of date' if check else 'filled'}", file=sys.stderr)
    except BuildflowError as error:
        print(error.summary, file=sys.stderr)
        return error.exit_code
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
