"""Quoting for Mermaid, comments that carry facts, and the classes that give looks.

Rule: anything that Mermaid, its Markdown or HTML could take for its own is written as an entity
(`#35;`), so that a step may have any name.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from buildflow.diagrams.theme import OUTCOMES
from buildflow.errors import BadInput

_PLAIN: Final = frozenset("_-.=()/+'!?@ ")
_ENTITY: Final = re.compile(r"#(\d+);")
_ICON: Final = re.compile(r":(?=fa)")


def quote(text: str, *, but: str = "") -> str:
    """`text` for use between double quotes; characters in `but` are written as entities too."""
    out = []
    for char in text:
        plain = char.isalnum() or char in _PLAIN or char in ":,"
        out.append(char if plain and char not in but else f"#{ord(char)};")
    quoted = _ICON.sub("#58;", "".join(out))
    # blanks at an end, or several together, would be folded into one
    quoted = re.sub(r"^ | $|(?<= ) ", "#32;", quoted)
    # a label that begins like a Markdown list would be drawn as one
    return re.sub(r"^(\d+)\.(?= )", r"\1#46;", quoted)


def unquote(text: str) -> str:
    """What `quote` was given."""
    return _ENTITY.sub(lambda match: chr(int(match.group(1))), text)


def joined(parts: Iterable[str], mark: str) -> str:
    """`parts` with `mark` and a blank between; a mark within one is quoted, so it can be split."""
    return f"{mark} ".join(quote(part, but=mark) for part in parts)


def split(text: str, mark: str) -> tuple[str, ...]:
    """The parts that `joined` was given."""
    return tuple(unquote(part) for part in text.split(f"{mark} ")) if text else ()


def facts_line(known: Mapping[str, Mapping[str, Any]]) -> str:
    """The last line: a comment with all that is not drawn, by its owner; nothing when all is."""
    told = {owner: values for owner, values in known.items() if values}
    if not told:
        return ""
    text = json.dumps(told, ensure_ascii=True, separators=(",", ":")).replace("%", "\\u0025")
    return f"  {_FACTS}{text}\n"


_FACTS: Final = "%% not drawn: "


def without_facts(text: str) -> str:
    """A Mermaid text of ours to be looked at only: without the line that it is read back with."""
    kept = [line for line in text.splitlines(keepends=True) if not line.lstrip().startswith(_FACTS)]
    return "".join(kept)


def read_facts(lines: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What is not drawn, by its owner. Raises BadInput when the line that says so is broken."""
    for line in lines:
        if line.lstrip().startswith(_FACTS):
            try:
                return dict(json.loads(line.lstrip().removeprefix(_FACTS)))
            except ValueError as error:
                raise BadInput(f"not Mermaid of ours: its comment is broken ({error})") from None
    return {}


def beyond_defaults(item: Any, drawn: Iterable[str]) -> dict[str, Any]:
    """The fields of a dataclass that are not drawn and differ from their default, as JSON data."""
    left = set(drawn)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(item):
        value = getattr(item, field.name)
        if field.name not in left and value != field.default:
            values[field.name] = list(value) if isinstance(value, tuple) else value
    return values


def as_fields(values: dict[str, Any]) -> dict[str, Any]:
    """What `beyond_defaults` gave, with its lists as the tuples that they were."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


def outcome_classes(used: Iterable[str]) -> Iterator[str]:
    """A class definition for each outcome in `used`."""
    names = set(used)
    for name, look in OUTCOMES.items():
        if name in names:
            dash = f",stroke-dasharray:{look.dash}" if look.dash else ""
            yield (
                f"  classDef {name} fill:{look.fill},stroke:{look.stroke},color:#1b1f23,"
                f"stroke-width:2px{dash}\n"
            )
