"""What a build has made in files is undone where they are, and nowhere else believed to be gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from buildflow.drivers.local_volume import LocalVolumeDriver
from buildflow.drivers.network_choice import NetworkChoice
from buildflow.drivers.simulated import SimulatedWorld, drivers_of
from buildflow.drivers.user_network import UserNetworkDriver
from buildflow.drivers.world import World
from buildflow.flows.effects import KINDS
from buildflow.flows.origin import elsewhere, origin

FACTS: dict[str, dict[str, Any]] = {
    "port": {"host": "h", "request": {"network": "user"}},
    "volume": {"host": "h", "size": 1},
}


def world_in(home: Path) -> World:
    """A world whose ports and volumes are files in this home."""
    drivers = drivers_of(SimulatedWorld(), "h")
    for folder in ("ports", "volumes"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    user = UserNetworkDriver(home / "ports")
    return World(
        computes=drivers.computes,
        network=NetworkChoice(user, drivers.network),
        volume=LocalVolumeDriver(home / "volumes"),
        image=drivers.image,
    )


@pytest.mark.parametrize("kind", FACTS)
def test_another_home_is_told_and_a_moved_one_is_none(kind: str, tmp_path: Path) -> None:
    first, second = world_in(tmp_path / "first"), world_in(tmp_path / "second")
    facts = {**FACTS[kind], **origin(first, KINDS[kind], FACTS[kind])}
    assert elsewhere(first, KINDS[kind], facts) is None
    reason = elsewhere(second, KINDS[kind], facts)
    assert reason is not None
    assert reason.startswith(f"it is in {tmp_path}/first/{kind}s, ")
    assert "the same --home" in reason
    (tmp_path / "link").symlink_to(tmp_path / "first")
    assert elsewhere(world_in(tmp_path / "link"), KINDS[kind], facts) is None
    (tmp_path / "first").rename(tmp_path / "moved")
    assert elsewhere(world_in(tmp_path / "moved"), KINDS[kind], facts) is None


@pytest.mark.parametrize("kind", FACTS)
def test_another_machine_is_told(kind: str, tmp_path: Path) -> None:
    world = world_in(tmp_path)
    facts = {**FACTS[kind], "folder": "far:/nowhere"}
    reason = elsewhere(world, KINDS[kind], facts)
    assert reason is not None
    assert reason.startswith("it is in /nowhere on far")
    facts["folder"] = f"far:{tmp_path}/{kind}s"
    assert elsewhere(world, KINDS[kind], facts) is None, "the same path: a home that both share"


def test_what_no_file_holds_has_no_folder(tmp_path: Path) -> None:
    world = world_in(tmp_path)
    assert "folder" not in origin(world, KINDS["guest"], {"host": "h"})
    real = {"host": "h", "request": {"network": None}}
    assert "folder" not in origin(world, KINDS["port"], real), "the other driver's port"
    assert elsewhere(world, KINDS["port"], FACTS["port"]) is None, "of an older version"
