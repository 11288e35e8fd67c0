"""What the sweeps build: each ends in one way only, whoever is killed on the way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

from buildflow.engine.fingerprint import atoms_of
from buildflow.engine.step import Step
from buildflow.errors import DriverError, Refused
from buildflow.flows.build import build_flow
from tests.crash.bed import Row, Scenario

PLAIN: Row = {"image": "cirros", "volumes": [{"size": 1}]}


def fails_at(where: str, step: str, *, host: str | None = None, passing: bool = False) -> Any:
    """A fault at one point, whenever it is passed; `passing` ones another host might not have."""

    def fault(found: str, subject: str, run: Any) -> None:
        if (found, subject) == (where, step) and host in (None, run.host):
            raise (DriverError if passing else Refused)(f"no luck at {where} of {step}")

    return fault


def both(*faults: Any) -> Any:
    """Several faults at once."""

    def fault(where: str, subject: str, run: Any) -> None:
        for each in faults:
            each(where, subject, run)

    return fault


def asks_to_stop(where: str, step: str, reason: str) -> Any:
    """Somebody else's request, which lands at one point."""

    def fault(found: str, subject: str, run: Any) -> None:
        if (found, subject) == (where, step):
            run.store.request_stop(run.id, reason)

    return fault


def awaits(where: str, step: str, other: str) -> Any:
    """One step waits at a point until another one, which may overlap it, is done."""

    def fault(found: str, subject: str, run: Any) -> None:
        deadline = time.monotonic() + 30
        while (found, subject) == (where, step) and not any(
            effect["step"] == other and effect["state"] == "done"
            for effect in list(run.effects.values())
        ):
            assert time.monotonic() < deadline, f"{other} is never done"
            time.sleep(0.001)

    return fault


def steps() -> list[Step]:
    """Every step of the build that the sweeps use."""
    flow = build_flow(name="killed", hosts=["h1"], **PLAIN)
    return [atom for atom in atoms_of(flow) if isinstance(atom, Step)]


def failing_in_each_step() -> Iterator[Scenario]:
    """One scenario a step: it has done its work, and fails."""
    for step in steps():
        where = "made" if step.kind is not None else "execute"
        yield Scenario(f"{step.name} fails", PLAIN, fails_at(where, step.name))


TWO_VOLUMES: Row = {"image": "cirros", "networks": [{}, {}]}
SUCCESS = Scenario("success", TWO_VOLUMES)
FROM_VOLUME = Scenario("from volume", {"boot_volume": {"size": 1, "image_id": "cirros"}})
RESCHEDULED = Scenario("rescheduled", PLAIN, fails_at("made", "start", host="h1", passing=True))
NO_HOST_LEFT = Scenario("no host left", PLAIN, fails_at("made", "start", passing=True))
RESIDUE = Scenario(
    "residue", PLAIN,
    both(fails_at("execute", "Wait for boot"), fails_at("undo", "volume:0:attach")),
)  # fmt: skip
GUEST_STAYS = Scenario(
    "guest stays", PLAIN,
    both(fails_at("execute", "finish"), fails_at("undo", "start")),
)  # fmt: skip
RESIDUE_BETWEEN_HOSTS = Scenario(
    "residue between hosts", PLAIN,
    both(fails_at("made", "start", passing=True), fails_at("undo", "start", host="h1")),
)  # fmt: skip
CANCELLED = Scenario("cancelled", PLAIN, asks_to_stop("made", "start", "cancelled"))
CANCELLED_BETWEEN_HOSTS = Scenario(
    "cancelled between hosts", PLAIN,
    both(
        fails_at("made", "start", host="h1", passing=True),
        asks_to_stop("undo", "define", "cancelled"),
    ),
)  # fmt: skip
DELETED_MEANWHILE = Scenario("deleted meanwhile", PLAIN, asks_to_stop("made", "port:0", "deleted"))
DELETED_AT_THE_END = Scenario(
    "deleted at the end", PLAIN, asks_to_stop("recorded", "Wait for boot", "deleted")
)
DELETED_WHILE_ROLLED_BACK = Scenario(
    "deleted while rolled back", PLAIN,
    both(
        fails_at("execute", "Wait for boot"),
        asks_to_stop("undone", "instance directory", "deleted"),
    ),
)  # fmt: skip
DELETE = Scenario("delete", TWO_VOLUMES, delete=True)
OVERLAPPING = Scenario("overlapping", TWO_VOLUMES, parallel=True)
VOLUME_FAILS = fails_at("made", "volume:1:attach")
OVERLAPPING_FAILS = Scenario(
    "overlapping fails", TWO_VOLUMES,
    both(awaits("made", "volume:1:attach", "volume:0:host"), VOLUME_FAILS),
    parallel=True,
)  # fmt: skip
OVERLAPPING_FAILS_EARLY = Scenario(
    "overlapping fails early", TWO_VOLUMES, VOLUME_FAILS, parallel=True
)
BY_NAME: Final = {
    each.name: each
    for each in (
        SUCCESS, FROM_VOLUME, RESCHEDULED, NO_HOST_LEFT, RESIDUE, GUEST_STAYS,
        RESIDUE_BETWEEN_HOSTS, CANCELLED, CANCELLED_BETWEEN_HOSTS, DELETED_MEANWHILE,
        DELETED_AT_THE_END, DELETED_WHILE_ROLLED_BACK, DELETE, OVERLAPPING, OVERLAPPING_FAILS,
        OVERLAPPING_FAILS_EARLY, *failing_in_each_step(),
    )
}  # fmt: skip
