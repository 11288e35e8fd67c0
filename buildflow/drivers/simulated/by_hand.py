"""A world that changes behind our back: what somebody with virsh or openstack may do at any time.

Each returns whether there was anything to do it to. What is taken away by hand may be made again
with the same key: the rule against that is for the engine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from buildflow.drivers.protocols import Json
from buildflow.drivers.simulated import guests
from buildflow.drivers.simulated.names import derive
from buildflow.states import power

if TYPE_CHECKING:
    from buildflow.drivers.simulated.change import Change
    from buildflow.drivers.simulated.options import WorldOptions
    from buildflow.drivers.simulated.state import State


class ByHand(ABC):
    """The part of a world's interface that is not a driver's."""

    options: WorldOptions

    @abstractmethod
    def change(self, name: str, key: str | None = None, id: str | None = None) -> Change:
        """See world.py."""

    @abstractmethod
    def look(self) -> AbstractContextManager[State]:
        """See world.py."""

    @abstractmethod
    def configure(self, **changes: Any) -> None:
        """See world.py."""

    # --- guests ---------------------------------------------------------------------------------

    def undefine_by_hand(self, uuid: str) -> bool:
        """virsh undefine: a domain that is off is gone, a running one becomes transient."""
        with self.change("by_hand.undefine", id=uuid) as change:
            found = _domain(change, uuid)
            if found is None:
                return False
            record_id, domain = found
            alive = guests.is_alive(domain, change.now)
            change.put("domains", record_id, {**domain, "persistent": False} if alive else None)
            return True

    def destroy_guest(self, uuid: str) -> bool:
        """virsh destroy."""
        return self._stop(uuid, "destroy", power.SHUTDOWN)

    def stop_guest(self, uuid: str) -> bool:
        """The guest powers itself off."""
        return self._stop(uuid, "stop", power.SHUTDOWN)

    def crash_guest(self, uuid: str) -> bool:
        """Its QEMU is killed."""
        return self._stop(uuid, "crash", power.CRASHED)

    def pause_guest(self, uuid: str) -> bool:
        """virsh suspend, or an I/O error: held, with its QEMU there."""
        with self.change("by_hand.pause", id=uuid) as change:
            found = _live_domain(change, uuid)
            if found is None:
                return False
            record_id, domain = found
            held = {**domain, "power": power.PAUSED, "until": change.now}
            change.put("domains", record_id, held)
            return True

    def turn_guest(self, uuid: str, state: int) -> bool:
        """virsh start, suspend, resume, dompmsuspend, destroy, or a panic: whatever leaves a domain
        that is there in the power state `state`, one that a domain can have.
        """
        with self.change("by_hand.turn", id=uuid) as change:
            found = _domain(change, uuid)
            if found is None:
                return False
            record_id, domain = found
            lives = state in _LIVING
            acts_at = change.now if lives and domain["acts_at"] is None else domain["acts_at"]
            change.put("domains", record_id, {
                **domain, "active": lives, "power": state, "acts_at": acts_at,
                "until": None if state == power.RUNNING else change.now,
            })  # fmt: skip
            return True

    def take_domain_away(self, uuid: str) -> Json | None:
        """virsh dumpxml, destroy and undefine; returns what `bring_domain_back` wants."""
        with self.change("by_hand.take_away", id=uuid) as change:
            found = _domain(change, uuid)
            if found is None:
                return None
            record_id, domain = found
            change.put("domains", record_id, None)
            return domain

    def bring_domain_back(self, domain: Json) -> None:
        """virsh define of what was dumped; it is off."""
        with self.change("by_hand.bring_back", id=domain["uuid"]) as change:
            off = {**domain, "active": False, "power": power.SHUTDOWN, "until": change.now}
            change.put("domains", f"{domain['host']}/{domain['uuid']}", off)

    def define_by_hand(self, host: str, name: str, *, running: bool = False) -> str:
        """A domain that is not ours; returns its uuid."""
        uuid = derive("foreign", host, name)
        with self.change("by_hand.define", id=uuid) as change:
            change.put(
                "domains",
                f"{host}/{uuid}",
                {
                    "host": host, "uuid": uuid, "name": name, "build": None, "memory_mib": 64,
                    "vcpus": 1, "directory": "", "disks": [], "volumes": [], "vifs": [],
                    "persistent": True, "active": running, "behaviour": "boots", "until": None,
                    "power": power.RUNNING if running else power.SHUTDOWN,
                    "acts_at": change.now if running else None,
                },
            )  # fmt: skip
        return uuid

    def _stop(self, uuid: str, verb: str, state: int) -> bool:
        with self.change(f"by_hand.{verb}", id=uuid) as change:
            found = _live_domain(change, uuid)
            if found is None:
                return False
            record_id, domain = found
            change.put("domains", record_id, stopped(domain, state, change.now))
            return True

    # --- files, ports, volumes ------------------------------------------------------------------

    def delete_disk_by_hand(self, key: str) -> bool:
        """rm of a root disk."""
        return self._remove("disks", "disk", key)

    def delete_directory_by_hand(self, key: str) -> bool:
        """rm -r of an instance directory, its disks with it."""
        with self.change("by_hand.delete_directory", key=key) as change:
            state = change.state
            found = _keyed(state.tables["directories"], key)
            for record_id, directory in found:
                change.put("directories", record_id, None)
                change.forget("directory", key)
                place = f"{directory['host']}/{directory['path']}"
                for disk_id in state.in_directory.get(place, ()):
                    change.put("disks", disk_id, None)
                    change.forget("disk", state.tables["disks"][disk_id]["key"])
            return bool(found)

    def remove_secret_by_hand(self, key: str) -> bool:
        """virsh secret-undefine."""
        return self._remove("secrets", "secret", key)

    def remove_port_by_hand(self, port_or_key: str) -> bool:
        """openstack port delete, by the port's id or by our key."""
        with self.change("by_hand.remove_port") as change:
            state = change.state
            change.id = state.by_port_key.get(port_or_key, port_or_key)
            port = state.tables["ports"].get(change.id)
            if port is None:
                return False
            change.put("ports", change.id, None)
            change.forget("port", port["key"])
            change.forget("binding", port["binding_key"])
            return True

    def unplug_by_hand(self, port_id: str) -> bool:
        """ip link delete of a port's tap, on every host."""
        with self.change("by_hand.unplug", id=port_id) as change:
            vifs = change.state.tables["vifs"]
            found = [record_id for record_id, vif in vifs.items() if vif["port"] == port_id]
            for record_id in found:
                change.put("vifs", record_id, None)
            return bool(found)

    def delete_volume_by_hand(self, volume_id: str) -> bool:
        """A volume is deleted in the backend, whatever is attached to it."""
        with self.change("by_hand.delete_volume", id=volume_id) as change:
            volume = change.state.tables["volumes"].get(volume_id)
            if volume is None:
                return False
            change.put("volumes", volume_id, None)
            change.forget("volume", volume["key"])
            for attachment in volume["attachments"].values():
                change.forget("reservation", attachment["key"])
            return True

    def detach_by_hand(self, volume_id: str) -> bool:
        """An admin resets a volume: its attachments go, and it is available."""
        with self.change("by_hand.detach", id=volume_id) as change:
            volume = change.state.tables["volumes"].get(volume_id)
            if volume is None:
                return False
            for attachment in volume["attachments"].values():
                change.forget("reservation", attachment["key"])
            change.put("volumes", volume_id, {**volume, "attachments": {}, "status": "available"})
            return True

    def set_volume_status(self, volume_id: str, status: str) -> bool:
        """cinder reset-state."""
        with self.change("by_hand.set_volume_status", id=volume_id) as change:
            volume = change.state.tables["volumes"].get(volume_id)
            if volume is not None:
                change.put("volumes", volume_id, {**volume, "status": status, "ready_at": None})
            return volume is not None

    def _remove(self, table: str, kind: str, key: str) -> bool:
        with self.change(f"by_hand.delete_{kind}", key=key) as change:
            found = _keyed(change.state.tables[table], key)
            for record_id, _ in found:
                change.put(table, record_id, None)
                change.forget(kind, key)
            return bool(found)

    # --- hosts ----------------------------------------------------------------------------------

    def fill_disk(self, host: str) -> None:
        """From now on there is no space left on this host."""
        self.configure(full_disks=sorted({*self._options().full_disks, host}))

    def free_disk(self, host: str) -> None:
        """There is space again."""
        self.configure(full_disks=sorted({*self._options().full_disks} - {host}))

    def set_capacity(
        self, host: str, *, memory_mib: int | None = None, vcpus: int | None = None
    ) -> None:
        """What the host has for guests; None is without limit."""
        capacity = {name: asdict(each) for name, each in self._options().capacity.items()}
        self.configure(capacity={**capacity, host: {"memory_mib": memory_mib, "vcpus": vcpus}})

    def remove_bridge(self, host: str, bridge: str) -> None:
        """ip link delete of a bridge."""
        missing = {*self._options().missing_bridges, f"{host}/{bridge}"}
        self.configure(missing_bridges=sorted(missing))

    def restore_bridge(self, host: str, bridge: str) -> None:
        """The bridge is there again."""
        missing = {*self._options().missing_bridges} - {f"{host}/{bridge}"}
        self.configure(missing_bridges=sorted(missing))

    def _options(self) -> WorldOptions:
        with self.look():
            return self.options


_LIVING = frozenset({power.RUNNING, power.PAUSED, power.SUSPENDED})


def stopped(domain: Json, state: int, now: float) -> Json | None:
    """A domain's record once its QEMU has ended; None for one that was not defined any more."""
    if not domain["persistent"]:
        return None
    return {**domain, "active": False, "power": state, "until": now}


def _domain(change: Change, uuid: str) -> tuple[str, Json] | None:
    for record_id, domain in change.state.tables["domains"].items():
        if domain["uuid"] == uuid and not guests.is_gone(domain, change.now):
            return record_id, domain
    return None


def _live_domain(change: Change, uuid: str) -> tuple[str, Json] | None:
    found = _domain(change, uuid)
    return found if found is not None and guests.is_alive(found[1], change.now) else None


def _keyed(table: dict[str, Json], key: str) -> list[tuple[str, Json]]:
    return [(record_id, record) for record_id, record in table.items() if record["key"] == key]
