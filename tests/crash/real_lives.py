"""A program for tests: real builds on an embedded QEMU, killed and resumed, a JSON line a case.

    python -m tests.crash.real_lives HOME IMAGE MARKER KILLS ROLLBACK_KILLS BOOTS

Every life is a forked child, for a process can open one embedded hypervisor and holds it until it
ends; this one never opens any. KILLS cases die somewhere on the way forward, evenly spread and
around the start of the domain; ROLLBACK_KILLS die while a build that fails is rolled back. BOOTS of
the cases wait for MARKER on the guest's console at the end.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from buildflow.api import VmEngine, open_world_of
from buildflow.config import Settings
from buildflow.engine.store import Store
from buildflow.errors import Refused
from buildflow.states import power
from tests.crash.forks import KILLED, Instants, in_child

WANTED = frozenset({"execute", "made", "recorded", "undo", "undone"})


class Lives:
    """Everything but the choice of instants."""

    def __init__(self, home: Path, image: str, marker: str) -> None:
        self.home, self.image, self.marker = home, image, marker

    @contextmanager
    def engine(self, instants: Instants | None = None, fails: bool = False) -> Iterator[VmEngine]:
        """One process's engine. `fails` has the last step refuse."""
        settings = Settings(home=self.home, boot_grace_s=0.1, undo_timeout_s=10.0)
        store = Store(settings.store_url)

        def points(where: str, subject: str, run: Any) -> None:
            if instants is not None:
                instants.point(where, subject, run)
            if fails and (where, subject) == ("execute", "finish"):
                raise Refused("as was asked")

        if instants is not None:
            store.journal.on_commit = instants.on_commit
        with VmEngine(settings, open_world=open_world_of, store=store, points=points) as engine:
            yield engine
        store.close()

    def build(self, name: str, instants: Instants, fails: bool = False) -> list[str]:
        """Build it; the instants that were passed."""
        with self.engine(instants, fails) as engine:
            engine.build(
                name=name, image=self.image, memory_mib=96, virt_type="qemu",
                networks=[{"network": "user"}], wait="power",
            ).wait()  # fmt: skip
        return instants.passed

    def resume(self, name: str, fails: bool = False) -> None:
        """In a fresh process."""
        with self.engine(fails=fails) as engine:
            for handle in engine.resume():
                handle.wait()

    def look(self, name: str, boots: bool) -> dict[str, Any]:
        """What came of it, by the store and by the hypervisor; and then it is deleted."""
        with self.engine() as engine:
            rows = [row for row in engine.list(limit=None) if row["name"] == name]
            if not rows:
                return {"status": None, "things": len(list(engine.world.inventory()))}
            row = engine.show(rows[0]["id"])
            compute = engine.world.on(engine.world.hosts[0])
            domain = compute.find_domain(row["id"])
            found = {
                "status": row["status"],
                "vm_state": row["vm_state"],
                "fault": row["fault"],
                "residue": len(row["residue"]),
                "running": domain is not None and domain.power_state == power.RUNNING,
                "domain": domain is not None,
                "audit": engine.gc(dry_run=True).to_json(),
                "marker": self._boots(engine, compute, row["id"]) if boots else None,
            }
            if row["status"] == "complete":
                engine.delete(row["id"]).wait()
            found["things"] = [f"{t.kind} {t.id}" for t in engine.world.inventory()]
            return found

    def _boots(self, engine: VmEngine, compute: Any, uuid: str) -> bool:
        deadline = engine.clock.monotonic() + 90
        while engine.clock.monotonic() < deadline:
            text, _ = compute.console(uuid, 0)
            if self.marker.encode() in text:
                return True
            engine.clock.sleep(0.2)
        return False


def _chosen(passed: list[str], count: int) -> list[int]:
    """All instants round the start of the domain, and the others evenly spread."""
    start = passed.index("made start") + 1
    chosen = set(range(start - 2, start + 4))
    for index in range(count * 4):
        if len(chosen) >= count:
            break
        chosen.add(1 + (index * 7919) % len(passed))
    return sorted(chosen)


def main(home: str, image: str, marker: str, kills: str, rollback_kills: str, boots: str) -> None:
    """See the module."""
    warnings.simplefilter("ignore")
    lives = Lives(Path(home), image, marker)
    cases: list[tuple[int, bool]] = []
    for fails, count in ((False, int(kills)), (True, int(rollback_kills))):
        whole = Instants(wanted=WANTED)
        name = f"whole-{fails:d}"
        passed = in_child(partial(lives.build, name, whole, fails))
        in_child(partial(lives.look, name, False))
        first_undo = next((n for n, each in enumerate(passed) if each.startswith("undo ")), 0)
        if fails:
            spread = range(first_undo, len(passed), max(1, (len(passed) - first_undo) // count))
            cases += [(n + 1, True) for n in list(spread)[:count]]
        else:
            cases += [(n, False) for n in _chosen(passed, count)]
            names = passed
    for index, (kill_at, fails) in enumerate(cases):
        name = f"vm-{index}"
        instants = Instants(kill_at, wanted=WANTED)
        ended = in_child(partial(lives.build, name, instants, fails))
        in_child(partial(lives.resume, name, fails))
        started = not fails and kill_at > names.index("made start") - 1
        after = sum(k > names.index("made start") - 1 for k, f in cases[:index] if not f)
        boots_now = started and after < int(boots)
        found = in_child(partial(lives.look, name, boots_now))
        where = "rollback" if fails else names[kill_at - 1]
        print(
            json.dumps(
                {"kill_at": kill_at, "where": where, "killed": ended == KILLED, "fails": fails}
                | found
            ),
            flush=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
