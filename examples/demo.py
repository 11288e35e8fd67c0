"""A real virtual machine, built and shown; then one that fails, and what is left of it: nothing.

    make demo

Everything is done by the command line that you would use, each command printed before it runs. It
may be run again and again, also after it was interrupted: it begins by putting right what an
earlier run has left.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from buildflow.cli import main as buildflow

ROOT = Path(__file__).resolve().parent.parent
GUEST = ROOT / ".cache" / "guest" / "guest.qcow2"
# as root QEMU runs as a user of its own, which may not enter /root or another's home
HOME = Path("/var/lib/buildflow-demo") if os.geteuid() == 0 else ROOT / ".cache" / "demo"

FIRST, SECOND = "demo-1", "demo-2"
MACHINE = ["--memory", "96", "--wait", "console:BUILDFLOW-GUEST-READY"]


class BrokenPromiseError(Exception):
    """Something did not go as this demonstration promises."""


def main() -> int:
    """The whole demonstration; returns an exit code."""
    if not GUEST.exists():
        print(f"there is no guest image at {GUEST}: `make guest` makes it", file=sys.stderr)
        return 4
    HOME.mkdir(parents=True, exist_ok=True)
    image = str(_image())
    try:
        _put_right()
        before = _inventory()
        _heading("A virtual machine, built by steps that can all be undone")
        _run("build", FIRST, "--image", image, *MACHINE)
        _run("diagram", "call", "--build", _newest())
        with_first = _inventory()
        print(f"\ninventory: {_counted(with_first)}")
        _heading("A second one, made to fail in spawn when its guest already runs")
        _run(
            "build", SECOND, "--image", image, *MACHINE, "--inject", "wait_for_boot:execute",
            expect=1,
        )  # fmt: skip
        _run("diagram", "call", "--build", _newest())
        _same(with_first, _inventory(), "the same as before it")
        _heading("The first one is deleted")
        _run("delete", FIRST)
        _same(before, _inventory(), "the same as at the beginning")
        _run("list", "--limit", "2")
    except BrokenPromiseError as broken:
        print(f"\n{broken}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; the next run puts right what is left", file=sys.stderr)
        return 130
    return 0


def _run(*words: str, expect: int = 0) -> None:
    shown = [Path(word).name if word.startswith("/") else word for word in words]
    print(f"\n$ buildflow {shlex.join(shown)}", flush=True)
    code = buildflow(["--home", str(HOME), *words])
    if code == 130:
        raise KeyboardInterrupt
    if code != expect:
        raise BrokenPromiseError(f"exit code {code}, where {expect} was promised")


def _heading(text: str) -> None:
    print(f"\n{text}\n{'=' * len(text)}", flush=True)


def _put_right() -> None:
    """Roll back, clean up and delete whatever an interrupted run has left."""
    import buildflow as api

    with api.open(HOME) as engine:
        for handle in [*engine.resume(revert=True), *engine.cleanup()]:
            handle.wait()
        for row in engine.list(None):
            if row["status"] == "complete":
                engine.delete(row["id"]).wait()


def _newest() -> str:
    """The id of the build just made: names may have been used by earlier runs."""
    import buildflow as api

    with api.open(HOME) as engine:
        return str(engine.list(1)[0]["id"])


def _inventory() -> list[str]:
    """All that there is of our kinds, by the drivers' account and by looking for ourselves."""
    import buildflow as api

    with api.open(HOME) as engine:
        # a `process` is a QEMU of the host that belongs to another hypervisor
        found = [thing for thing in engine.world.inventory() if thing.kind != "process"]
    things = [f"{thing.kind} {thing.id}" for thing in found]
    return sorted({*things, *_qemu_processes(), *_instance_files()})


def _qemu_processes() -> Iterable[str]:
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            try:
                argv = (process / "cmdline").read_bytes()
            except OSError:  # it has ended meanwhile
                continue
            if b"qemu-system" in argv and os.fsencode(HOME) in argv:
                yield f"QEMU {process.name}"


def _instance_files() -> Iterable[str]:
    for path in (HOME / "instances").rglob("*"):
        yield f"file {path.relative_to(HOME)}"


def _same(before: list[str], now: list[str], words: str) -> None:
    if before != now:
        new = "; ".join(sorted(set(now) - set(before))) or "-"
        gone = "; ".join(sorted(set(before) - set(now))) or "-"
        raise BrokenPromiseError(f"not {words}: new: {new}; gone: {gone}")
    print(f"\ninventory: {_counted(now)}, {words}", flush=True)


def _counted(things: list[str]) -> str:
    counts = Counter(thing.split()[0] for thing in things)
    return ", ".join(f"{kind} {number}" for kind, number in sorted(counts.items())) or "nothing"


def _image() -> Path:
    """The guest image where QEMU may read it."""
    if os.geteuid() != 0:
        return GUEST
    copy = HOME / GUEST.name
    if not copy.exists() or copy.stat().st_mtime < GUEST.stat().st_mtime:
        part = copy.with_suffix(".part")
        shutil.copyfile(GUEST, part)
        part.replace(copy)
    return copy


if __name__ == "__main__":
    sys.exit(main())
