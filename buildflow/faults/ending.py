"""How a run has ended, in words that the simulated world and a real one share.

Names of things differ from world to world (ids, MACs, hosts); what kinds there are, how many of
each and what the records say of them does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from buildflow.drivers.protocols import Json, Thing
from buildflow.engine.store import Row, Rows
from buildflow.faults.machines import MachineScene
from buildflow.flows.effects import KINDS as EFFECT_KINDS
from buildflow.states import power

# rows of attachments, by how far they have come; a local volume's are `connected` where Cinder's
# are `attaching`, and the older protocol of Cinder's has the volume's status for them
_ROWS: Final = {
    "reserved": "reservation", "attaching": "attachment", "connected": "attachment",
    "detaching": "attachment", "attached": "attached", "in-use": "attached",
}  # fmt: skip
# who plugs a port and who opens a volume is the hypervisor's own way; its guests run or do not
_NOT_COUNTED: Final = frozenset({"vif", "connection", "claim", "process"})
COUNTED: Final = frozenset(EFFECT_KINDS) - _NOT_COUNTED


@dataclass(frozen=True, slots=True)
class Ending:
    """See the module.

    `states` are vm, task and power; `faults` the classes of the error that is reported and of those
    beside it; `ledger` the state of each effect by `step kind`; `history` its triggers in order;
    `things` how many of each kind are there, with 0 for a kind that was looked for.
    """

    outcome: str
    states: tuple[str, str, str]
    faults: tuple[str, ...]
    ledger: Mapping[str, str]
    history: tuple[str, ...]
    things: Mapping[str, int]

    def unlike(self, simulated: Ending) -> list[str]:
        """Where this real ending is not as the simulated one, but for the outcome: in words."""
        found = []
        for what in ("states", "faults", "history"):
            ours, theirs = getattr(self, what), getattr(simulated, what)
            if ours != theirs:
                found.append(f"{what} {_said(ours)}, and {_said(theirs)} in the simulated world")
        for name in sorted(self.ledger.keys() | simulated.ledger.keys()):
            ours, theirs = self.ledger.get(name), simulated.ledger.get(name)
            if ours != theirs:
                found.append(f"the ledger calls {name} {ours}, and {theirs} in the simulated world")
        for word in sorted(self.things):
            count, other = self.things[word], simulated.things.get(word, 0)
            if count != other:
                found.append(f"{count} {word}, and {other} in the simulated world")
        return found


def ending(row: Row, effects: Rows, history: Rows, things: Mapping[str, int]) -> Ending:
    """From the store's rows of a build, and what was found outside."""
    faults = [row["fault"], *(row["errors"] or [])]
    return Ending(
        row["status"],
        (str(row["vm_state"]), str(row["task_state"]), power.NAMES[row["power_state"]]),
        tuple(fault["type"] for fault in faults if fault is not None),
        {f"{effect['step']} {effect['kind']}": effect["state"] for effect in effects},
        tuple(line["trigger"] for line in history),
        things,
    )


def ending_of(scene: MachineScene) -> Ending:
    """How the run of a simulated machine has ended; what follows changes the scene."""
    store, build = scene.store, scene.build_id
    things = {
        **counted(scene.engine.world.inventory(), build),
        **_of_services(scene.world.snapshot(), scene.volume_ids),
    }
    return ending(store.find(build), store.effects(build), store.history(build), things)


def counted(things: Iterable[Thing], build: str) -> dict[str, int]:
    """What a build has of each kind, by the drivers' inventories. Files have no build in them: they
    are all the home's.
    """
    found = Counter(dict.fromkeys(COUNTED, 0))
    for thing in things:
        if (thing.build or thing.detail.get("instance") or build) == build:
            found[word_of(thing)] += 1
    return {word: count for word, count in found.items() if word in COUNTED}


def word_of(thing: Thing) -> str:
    """Its kind; a row of an attachment is called by how far it has come."""
    if thing.kind in ("reservation", "attachment", "attached"):
        return row_word(str(thing.detail.get("status") or thing.detail.get("stage")))
    return thing.kind


def row_word(status: str) -> str:
    """What a row of an attachment in this status is called."""
    return _ROWS.get(status, status)


def _of_services(found: Json, given: Iterable[str]) -> dict[str, int]:
    """What only the services themselves tell: exports, and the statuses of the user's volumes."""
    rows = [row for each in found["volumes"].values() for row in each["attachments"].values()]
    words: Counter[str] = Counter(status_word(found["volumes"][each]["status"]) for each in given)
    words["export"] = sum(row["exported"] for row in rows)
    return dict(words)


def status_word(status: str) -> str:
    """How one of the user's own volumes in this status is counted."""
    return f"volume that is {status}"


def _said(value: Any) -> str:
    return ", ".join(map(str, value)) or "none"
