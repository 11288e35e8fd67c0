"""What nobody foresaw does not end a conductor, nor one of its threads in silence."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from buildflow.api import VmEngine
from buildflow.config import Settings
from buildflow.distributed.board import Board
from buildflow.distributed.capacity import Capacity, HostRow
from buildflow.distributed.conductor import Conductor
from buildflow.distributed.jobs import Jobs
from buildflow.drivers.simulated import SimulatedWorld, drivers_of
from buildflow.flows.request import parse_request
from tests.distributed.conftest import url_of
from tests.lab.services import Redis

pytestmark = pytest.mark.services


def once(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> Callable[[], bool]:
    """Have a method raise what nobody foresees the next time; tells whether that has happened."""
    method = getattr(owner, name)
    left = ["never heard of"]

    def raising(*arguments: Any, **named: Any) -> Any:
        if left:
            raise RuntimeError(left.pop())
        return method(*arguments, **named)

    monkeypatch.setattr(owner, name, raising)
    return lambda: not left


@pytest.mark.parametrize("place", ["tend", "take", "mend"])
def test_an_error_that_nobody_foresaw(
    tmp_path: Path, redis: Redis, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr("buildflow.distributed.conductor.OFFER_S", 0.2)
    drivers = drivers_of(SimulatedWorld(), "h1")
    said: list[str] = []
    with VmEngine(Settings(home=tmp_path), drivers) as engine:
        drivers.capacity = capacity = Capacity(engine.store, engine.clock)
        board = Board(url_of("redis", redis), "a")
        host = HostRow("h1", "sim:///", vcpus=8, memory_mib=8192, disk_gib=99)
        conductor = Conductor(engine, board, capacity, hosts=[host], on_event=said.append)
        owner, name = {
            "tend": (capacity, "offer"),
            "take": (conductor.jobs, "glances"),
            "mend": (conductor.jobs, "asked"),
        }[place]
        happened = once(monkeypatch, owner, name)
        thread = threading.Thread(target=conductor.run, daemon=True)
        thread.start()
        build = engine.accept_build(parse_request(name="vm", image="cirros"), queue=True)["id"]
        Jobs(engine.store, engine.clock).post(build)
        board.post(build)
        end = time.monotonic() + 30
        while engine.show(build)["status"] != "complete" or not happened():
            assert time.monotonic() < end, said
            time.sleep(0.05)
        assert any("never heard of" in line for line in said), "it is told"
        conductor.drain()
        thread.join(20)
        assert not thread.is_alive()
