"""Builds as people and programs see them: plain dictionaries, read from the store alone."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from buildflow.engine.store import Row, Store

_LISTED = (
    "id", "name", "status", "vm_state", "task_state", "power_state", "host", "created_at",
    "finished_at",
)  # fmt: skip


_BEFORE_A_FAILURE = ("PENDING", "RUNNING", "SUCCESS")


def listed(store: Store, limit: int | None = 100) -> list[Row]:
    """Builds, newest first, each with its states, host and times."""
    return [{key: row[key] for key in _LISTED} for row in store.list(limit)]


def history_of(store: Store, name: str) -> list[Row]:
    """The transitions of one build, in order."""
    row = store.find(name)
    return [
        {key: value for key, value in line.items() if key not in ("id", "build")}
        for line in store.history(row["id"])
    ]


def as_shown(store: Store, row: Row) -> Row:
    """The documented dictionary of a build; times are ISO 8601 in UTC, durations in seconds.

    `steps` lists every step of the flow in order, those that never ran as PENDING; `residue` the
    effects that are left; `fault` the first error and `errors` those that came after it.
    """
    effects = store.effects(row["id"])
    flows = {flow["name"]: flow["uuid"] for flow in store.flows(row["id"])}
    steps = _steps(row["fingerprint"], store.atoms(flows["build"]) if "build" in flows else [])
    if steps and (row["status"] == "complete" or "delete" in flows):
        _end_last(steps[-1])
    shown: Row = {
        "id": row["id"],
        "name": row["name"],
        "status": row["status"],
        "vm_state": row["vm_state"],
        "task_state": row["task_state"],
        "power_state": row["power_state"],
        "host": row["host"],
        "attempt": row["attempt"],
        "created_at": row["created_at"],
        "finished_at": row["finished_at"],
        "request_id": row["request_id"],
        "stop": row["stop"],
        "flow": row["flow"],
        "inputs": row["inputs"],
        "network_info": row["network_info"],
        "block_device_info": row["block_device_info"],
        "results": row["results"],
        "steps": steps,
        "effects": [_effect(effect) for effect in effects],
        "fault": row["fault"],
        "errors": row["errors"] or [],
        "residue": [_effect(effect) for effect in effects if effect["state"] == "residue"],
    }
    if "delete" in flows:
        removals = sorted(store.atoms(flows["delete"]), key=lambda a: a["started_at"] or "~")
        shown["delete_steps"] = _steps(removals, removals)
    return shown


def _steps(names: Any, atoms: list[Row]) -> list[Row]:
    found = {atom["name"]: atom for atom in atoms}
    return [_step(entry["name"], found.get(entry["name"])) for entry in names]


def _step(name: str, atom: Row | None) -> Row:
    if atom is None:
        return {
            "name": name, "state": "PENDING", "started_at": None, "finished_at": None,
            "seconds": None, "reverted_at": None, "revert_seconds": None, "error": None,
        }  # fmt: skip
    failure = None
    if atom["state"] not in _BEFORE_A_FAILURE:  # else what is kept is of an earlier attempt
        failure = atom["detail"].get("failure") or atom["detail"].get("revert_failure")
    return {
        "name": name,
        "state": atom["state"],
        "started_at": atom["started_at"],
        "finished_at": atom["finished_at"],
        "seconds": _seconds(atom["started_at"], atom["finished_at"]),
        "reverted_at": atom["revert_finished_at"],
        "revert_seconds": _seconds(atom["revert_started_at"], atom["revert_finished_at"]),
        "error": failure["exception_str"] if failure else None,
    }


def _end_last(step: Row) -> None:
    """The commit that makes a build complete is its last step's whole work, and its last record."""
    if step["state"] == "RUNNING":
        step.update(state="SUCCESS", finished_at=step["started_at"], seconds=0.0)


def _effect(effect: Row) -> Row:
    keys = (
        "key",
        "step",
        "kind",
        "state",
        "external_id",
        "attempt",
        "reason",
        "made_at",
        "changed_at",
    )
    return {key: effect[key] for key in keys}


def _seconds(start: str | None, end: str | None) -> float | None:
    if start is None or end is None:
        return None
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
