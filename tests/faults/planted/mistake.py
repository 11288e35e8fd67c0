"""One mistake that somebody could make, as a row of the table (table.py)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mistake:
    """`old` is in the source of `module` exactly once, and `new` takes its place.

    `sort` is the class of mistake, `scene` the smallest scene that shows it, and `depth` how many
    faults at once are tried there (1 or 2): every one, or those whose codes `kinds` lists.
    """

    name: str
    sort: str
    why: str
    module: str
    old: str
    new: str
    scene: str = "build-tiny"
    depth: int = 1
    kinds: tuple[str, ...] = ()
