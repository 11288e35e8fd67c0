"""Where an effect is, so that no other place is asked for it, found without it, and believed.

A cloud's project or a hypervisor is told by its driver in words that are the same everywhere. What
is in files is in a folder of one machine; one that is not there any more was moved with its home.
"""

from __future__ import annotations

import os
from pathlib import Path

from buildflow.drivers.protocols import Json
from buildflow.drivers.world import World
from buildflow.flows.effects import EffectKind


def origin(world: World, kind: EffectKind, facts: Json) -> Json:
    """What an effect's facts say of it: `place`, and `folder` as MACHINE:PATH."""
    place, folder = _here(world, kind, facts)
    told = {"place": place, "folder": None if folder is None else f"{_machine()}:{folder}"}
    return {name: words for name, words in told.items() if words is not None}


def elsewhere(world: World, kind: EffectKind, facts: Json) -> str | None:
    """Why an effect can't be undone from here, and the cure, where it is somewhere else."""
    place, folder = _here(world, kind, facts)
    made = facts.get("place")
    if made is not None and made != place:
        return (
            f"it was made by {made}, and this process speaks to {place or 'none of that kind'}:"
            " name the same --connect and --os-cloud as then"
        )
    machine, _, kept = str(facts.get("folder") or "").partition(":")
    if not kept or folder is None or kept == folder:
        return None
    if machine == _machine():
        if not Path(kept).exists() or _same(kept, folder):
            return None
        where = kept
    else:
        where = f"{kept} on {machine}"
    return f"it is in {where}, and this process keeps such things in {folder}: name the same --home"


def _here(world: World, kind: EffectKind, facts: Json) -> tuple[str | None, str | None]:
    return world.place(kind.service, facts), world.folder(kind.service, kind.name, facts)


def _machine() -> str:
    return os.uname().nodename


def _same(one: str, other: str) -> bool:
    return Path(other).exists() and Path(one).samefile(other)
