"""How a build ended: its exit code, and what people are told of it.

Success is told on stdout, everything else on stderr. With `--quiet` it is one line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from buildflow.cli.progress.words import duration

if TYPE_CHECKING:
    from buildflow.cli.invocation import Invocation

COMPLETE, ROLLED_BACK, BAD_INPUT, RESIDUE, UNUSABLE, INTERRUPTED = 0, 1, 2, 3, 4, 130

_CODES: Final = {"complete": COMPLETE, "rolled_back": ROLLED_BACK, "residue": RESIDUE}


def exit_code(shown: Mapping[str, Any], *, interrupted: bool = False) -> int:
    """The exit code for a build as `show` gives it; of a build that was to become complete."""
    code = _CODES.get(shown["status"], UNUSABLE)
    if code == ROLLED_BACK and (interrupted or was_interrupted(shown)):
        return INTERRUPTED
    return code


def was_interrupted(shown: Mapping[str, Any]) -> bool:
    """Whether a signal to the process that ran it was why it stopped."""
    fault = shown["fault"] or {}
    return fault.get("type") == "BuildStopped" and fault["message"].startswith("interrupted")


def tell_build(invocation: Invocation, shown: Mapping[str, Any]) -> None:
    """Say how a build ended, for people; with `--json` stdout has the document already."""
    if shown["status"] == "complete":
        if not invocation.json and not invocation.quiet:
            tell_lines("stdout", success(shown))
        return
    tell_lines("stderr", failure(shown), quiet=invocation.quiet)


def tell_lines(stream: str, lines: Iterable[str], *, quiet: bool = False) -> None:
    """Lines of rich markup on stdout or stderr; when `quiet` the first of them."""
    from buildflow.cli.terminal import Terminal

    console = Terminal(stderr=stream == "stderr", soft_wrap=True)
    for line in list(lines)[: 1 if quiet else None]:
        console.print(line)


def success(shown: Mapping[str, Any]) -> Iterator[str]:
    """What a machine's owner wants to know first."""
    took = duration(_seconds(shown))
    yield f"[bold green]{_e(called(shown))} is up[/] in {took} on {_e(shown['host'] or '?')}"
    yield f"  id       {shown['id']}"
    for vif in shown["network_info"] or ():
        where = vif["network"]["label"] or vif["network"]["id"]
        ips = [ip["address"] for net in vif["network"]["subnets"] for ip in net["ips"]]
        address = ", ".join(ips) or "no fixed address"
        yield f"  address  {_e(address)} on {_e(where)}, MAC {_e(vif['address'])}"
    for disk in (shown["block_device_info"] or {}).get("block_device_mapping", ()):
        volume = disk["connection_info"].get("serial")
        yield f"  volume   {_e(volume)} as {_e(disk['mount_device'])}"
    log = console_log(shown)
    if log is not None:
        yield f"  console  {_e(log)}"
    name = _e(called(shown))
    yield f"  next     buildflow show {name} · buildflow delete {name}"


def failure(shown: Mapping[str, Any]) -> Iterator[str]:
    """The fault in one line; then what was rolled back, and what is left with the way on."""
    fault = shown["fault"] or {"type": "", "message": "no reason was recorded", "step": ""}
    where = f" in {fault['step']}" if fault.get("step") else ""
    left = shown["residue"]
    if left:
        ending = f"{len(left)} of its effects could not be undone"
    elif shown["status"] == "rolled_back":
        ending = "rolled back, nothing is left"
    else:
        ending = f"it is {shown['status'].replace('_', ' ')}"
    verb = "was interrupted" if was_interrupted(shown) else "failed"
    reason = "" if was_interrupted(shown) else f": {fault['message']}"
    yield f"[bold red]{_e(called(shown))} {verb}{_e(where)}[/]{_e(reason)} ({ending})"
    undone = [e["kind"] for e in shown["effects"] if e["state"] == "undone"]
    if undone:
        yield f"  undone   {_e(', '.join(reversed(undone)))}"
    for error in shown["errors"]:
        at = f" in {error['step']}" if error.get("step") else ""
        yield f"  then     {_e(error['message'] + at)}"
    yield from residue(shown)


def residue(shown: Mapping[str, Any]) -> Iterator[str]:
    """Exactly what is left, and the command that finishes the job."""
    for effect in shown["residue"]:
        what = effect["external_id"] or effect["key"]
        reason = f": {effect['reason']}" if effect["reason"] else ""
        yield f"  [bold magenta]left[/]     {_e(effect['kind'])} {_e(what + reason)}"
    if shown["residue"]:
        yield f"  finish   buildflow cleanup {_e(called(shown))}"


def called(shown: Mapping[str, Any]) -> str:
    """What people call this build."""
    return str(shown["name"] or shown["id"])


def console_log(shown: Mapping[str, Any]) -> str | None:
    """Where the guest's console is written, None for a build that has no directory now."""
    for effect in shown["effects"]:
        if effect["kind"] == "directory" and effect["state"] == "done" and effect["external_id"]:
            return f"{effect['external_id']}/console.log"
    return None


def _seconds(shown: Mapping[str, Any]) -> float | None:
    if shown["finished_at"] is None:
        return None
    start = datetime.fromisoformat(shown["created_at"])
    return (datetime.fromisoformat(shown["finished_at"]) - start).total_seconds()


def _e(text: object) -> str:
    from rich.markup import escape

    return escape(str(text))
