"""Builds that today's code can't go on with: to be found before an upgrade, not in the middle."""

from __future__ import annotations

from buildflow.engine.definitions import Definitions
from buildflow.engine.fingerprint import first_difference
from buildflow.engine.store import Row, Rows, Store
from buildflow.errors import BuildflowError


def unfit(store: Store, definitions: Definitions) -> Rows:
    """One entry a build: `id`, `name`, `status`, the first `step` that differs, and the `detail`.

    A build that goes forward needs the flow that it was started with. One that goes back, or has
    residue, needs no more than the steps whose effects are left.
    """
    found = []
    for row in store.unfinished():
        difference = _difference(store, definitions, row)
        if difference is not None:
            entry = {key: row[key] for key in ("id", "name", "status")}
            found.append({**entry, "step": difference[0], "detail": difference[1]})
    return found


def _difference(store: Store, definitions: Definitions, row: Row) -> tuple[str | None, str] | None:
    try:
        definition = definitions.lend(row["flow"], row["inputs"])
    except BuildflowError as error:
        return None, error.summary
    try:
        if row["status"] in ("queued", "running"):
            return first_difference(row["fingerprint"], definition.fingerprint)
        for effect in store.effects(row["id"]):
            if effect["state"] != "undone" and effect["step"] not in definition.steps:
                return effect["step"], f"step {effect['step']!r}, which would undo it, is gone"
        return None
    finally:
        definitions.take_back(definition)
