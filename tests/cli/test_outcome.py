"""How a build ended: exit codes and words, for every way in which one can."""

from __future__ import annotations

from typing import Any

import pytest

from buildflow.cli.outcome import exit_code, failure, success

SHOWN: dict[str, Any] = {
    "id": "3f0c", "name": "vm1", "status": "complete", "host": "here", "fault": None,
    "errors": [], "effects": [], "residue": [], "network_info": [], "stop": None,
    "block_device_info": None,
    "created_at": "2026-01-01T00:00:00+00:00", "finished_at": "2026-01-01T00:00:02+00:00",
}  # fmt: skip
FAULT = {"type": "DriverError", "message": "it broke", "step": "start"}
STOPPED = {"type": "BuildStopped", "message": "interrupted", "step": "start"}


def shown(**changes: Any) -> dict[str, Any]:
    return {**SHOWN, **changes}


@pytest.mark.parametrize(
    ("build", "interrupted", "code"),
    [
        (shown(), False, 0),
        (shown(), True, 0),  # the signal came too late
        (shown(status="rolled_back", fault=FAULT), False, 1),
        (shown(status="rolled_back", fault=FAULT), True, 130),
        (shown(status="rolled_back", fault=STOPPED), False, 130),
        (shown(status="residue", fault=FAULT), False, 3),
        (shown(status="residue", fault=STOPPED), True, 3),
        (shown(status="running"), False, 4),
    ],
)
def test_exit_codes(build: dict[str, Any], interrupted: bool, code: int) -> None:
    assert exit_code(build, interrupted=interrupted) == code


def test_success_says_where_it_is_and_what_comes_next() -> None:
    network = {"label": "lan", "id": "n", "subnets": [{"ips": [{"address": "10.0.0.5"}]}]}
    disk = {"connection_info": {"serial": "v1"}, "mount_device": "vda"}
    effect = {"kind": "directory", "state": "done", "external_id": "/there"}
    lines = "\n".join(
        success(
            shown(network_info=[{"address": "52:54:00:00:00:01", "network": network}],
                  effects=[effect], block_device_info={"block_device_mapping": [disk]})
        )
    )  # fmt: skip
    assert "vm1 is up" in lines
    assert "in 2.00 s on here" in lines
    assert "10.0.0.5 on lan, MAC 52:54:00:00:00:01" in lines
    assert "volume   v1 as vda" in lines
    assert "/there/console.log" in lines
    assert "buildflow delete vm1" in lines


def test_a_failure_says_why_what_was_undone_and_what_is_left() -> None:
    left = {"kind": "guest", "external_id": "u", "key": "k", "reason": "no answer"}
    undone = [{"kind": kind, "state": "undone", "external_id": None} for kind in ("port", "disk")]
    first, *rest = failure(
        shown(status="residue", fault=FAULT, residue=[left], effects=undone,
              errors=[{"message": "again", "step": "undo of start"}])
    )  # fmt: skip
    assert "vm1 failed in start" in first
    assert "it broke" in first
    assert "1 of its effects could not be undone" in first
    text = "\n".join(rest)
    assert "disk, port" in text
    assert "again in undo of start" in text
    assert "guest u: no answer" in text
    assert "buildflow cleanup vm1" in text


def test_what_looks_like_markup_is_kept() -> None:
    fault = {**FAULT, "message": "no [red]colour[/red] here"}
    first = next(iter(failure(shown(status="rolled_back", fault=fault))))
    assert r"\[red]colour\[/red]" in first
