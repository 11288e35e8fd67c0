"""Hosts, what room they have, and what builds have claimed of it.

A claim is an effect like any other: made under its key, found by its key, released by its key. The
host's row is touched first, so that two builds that want the last room take turns and one of them
is refused (nova/compute/claims.py, which counts on one host's own view).

A host that no conductor has offered for `SILENT_S` is down: its conductor has died or lost the
store. This compares clocks of different machines, which must agree within some seconds.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from buildflow.distributed.jobs import wake
from buildflow.distributed.placement import Room, choose
from buildflow.distributed.transaction import transact
from buildflow.drivers.protocols import Demand, Thing
from buildflow.engine.clock import Clock, stamp
from buildflow.engine.schema import builds, claims, hosts, jobs
from buildflow.engine.store import Row, Store
from buildflow.errors import BadInput, NoRoom, StaleOwner

UP, DOWN = "up", "down"
# its own conductor is gone, and another one finishes what is on it
STANDBY = "standby"
# up, and to have no new builds
DISABLED = "disabled"
# conductors offer their hosts this often, so that three offers may be missed
OFFER_S: Final = 5.0
SILENT_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class HostRow:
    """One host as its conductor offers it. Memory in MiB, disk in GiB."""

    name: str
    uri: str
    vcpus: int
    memory_mib: int
    disk_gib: int


class Capacity:
    """The hosts of a store, shared by every conductor."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._shared: set[str] = set()  # hosts stay known: no need to ask twice
        # what builds of this process were placed where, until their claim is made
        self._reserved: dict[str, tuple[str, Demand]] = {}
        self._lock = threading.RLock()

    # --- hosts -----------------------------------------------------------------------------------

    def offer(self, host: HostRow) -> None:
        """Say that a host is there, with its room; one that is disabled stays so."""
        self._present(host, {"state": UP, "reason": None}, (DOWN, STANDBY))

    def doubt(self, host: HostRow, reason: str) -> None:
        """Say that a host of ours can't be used now, and why; one that is disabled stays so."""
        self._present(host, {"state": DOWN, "reason": reason}, (UP, DOWN))

    def attend(self, name: str, reason: str) -> None:
        """Say that a host whose conductor is gone is served to finish what is on it."""
        now = self._clock.now()
        silent = (hosts.c.state == UP) & (hosts.c.seen_at < _silent_since(now))
        gone = (hosts.c.name == name) & (silent | hosts.c.state.in_((DOWN, STANDBY)))
        values = {"state": STANDBY, "reason": reason, "seen_at": stamp(now)}
        transact(self._store, lambda c: c.execute(update(hosts).where(gone).values(**values)))

    def _present(self, host: HostRow, change: Mapping[str, Any], where: Sequence[str]) -> None:
        values = {
            "uri": host.uri, "vcpus": host.vcpus, "memory_mib": host.memory_mib,
            "disk_gib": host.disk_gib, "seen_at": stamp(self._clock.now()),
        }  # fmt: skip
        postgresql = self._store.engine.dialect.name == "postgresql"
        make = pg_insert if postgresql else sqlite_insert

        def work(connection: Connection) -> None:
            # two conductors that serve one host may meet here
            added = connection.execute(
                make(hosts)
                .values(name=host.name, seq=0, **change, **values)
                .on_conflict_do_nothing()
            )
            mine = hosts.c.name == host.name
            connection.execute(update(hosts).where(mine).values(**values, seq=hosts.c.seq + 1))
            changed = mine & hosts.c.state.in_(where)
            turned = connection.execute(update(hosts).where(changed).values(**change))
            if change["state"] == UP and added.rowcount + turned.rowcount > 0:
                wake(connection)

        transact(self._store, work)

    def require_known(self, names: Sequence[str]) -> None:
        """Raise BadInput when one of these hosts is not on the list."""
        if names:
            known = {row["name"] for row in self.listed()}
            for name in names:
                if name not in known:
                    raise _unknown(name)

    def disable(self, name: str, disabled: bool = True) -> None:
        """Place no new builds on a host, or do so again. Raises BadInput when it is not known."""
        statement = update(hosts).where(hosts.c.name == name).values(disabled=disabled)

        def work(connection: Connection) -> None:
            if connection.execute(statement).rowcount == 0:
                raise _unknown(name)
            if not disabled:
                wake(connection)

        transact(self._store, work)

    def forget_host(self, name: str) -> None:
        """Take a host that is no more off the list. Raises BadInput: it is not known, a conductor
        serves it, or builds have room on it.
        """

        def work(connection: Connection) -> None:
            # who claims room on it touches its row first
            mine = hosts.c.name == name
            connection.execute(update(hosts).where(mine).values(seq=hosts.c.seq + 1))
            row = connection.execute(select(hosts).where(mine)).mappings().first()
            if row is None:
                raise _unknown(name)
            if row["seen_at"] >= _silent_since(self._clock.now()):
                raise BadInput(
                    f"host {name!r} was offered at {row['seen_at']}: stop its conductor first, and"
                    f" wait {SILENT_S:g} s"
                )
            used = select(func.count()).select_from(claims).where(claims.c.host == name)
            builds_there = connection.execute(used).scalar_one()
            if builds_there:
                raise BadInput(f"host {name!r} has {builds_there} builds on it: delete them first")
            connection.execute(delete(hosts).where(mine))

        transact(self._store, work)
        self._shared.discard(name)

    def shares(self, host: str) -> bool:
        """Whether a host belongs to conductors, so that room on it must be claimed."""
        if host not in self._shared:
            statement = select(hosts.c.name).where(hosts.c.name == host)
            if transact(self._store, lambda c: c.execute(statement).first()) is None:
                return False
            self._shared.add(host)
        return True

    def listed(self) -> list[Row]:
        """Every host with what is claimed of it; one that has been silent is down."""
        used = _used()
        statement = (
            select(hosts, *(func.coalesce(column, 0).label(column.name) for column in _sums(used)))
            .select_from(hosts.outerjoin(used, hosts.c.name == used.c.host))
            .order_by(hosts.c.name)
        )
        rows = transact(self._store, lambda c: [dict(r) for r in c.execute(statement).mappings()])
        for row in rows:
            del row["seq"]
            row["state"], row["reason"] = self._state(row)
        return rows

    def alive(self, name: str) -> bool:
        """Whether a conductor serves this host now, be it disabled for new builds or not."""
        statement = select(hosts).where(hosts.c.name == name)
        row = transact(self._store, lambda c: c.execute(statement).mappings().first())
        return row is not None and self._state(row)[0] != DOWN

    def any_alive(self) -> bool:
        """Whether a conductor serves any host now."""
        recent = hosts.c.seen_at >= _silent_since(self._clock.now())
        statement = select(hosts.c.name).where(recent & (hosts.c.state != DOWN)).limit(1)
        return transact(self._store, lambda c: c.execute(statement).first()) is not None

    def _state(self, row: Any) -> tuple[str, str | None]:
        """What a host's row says now, and why."""
        now = self._clock.now()
        if row["state"] != DOWN and row["seen_at"] < _silent_since(now):
            seconds = (now - datetime.fromisoformat(row["seen_at"])).total_seconds()
            return DOWN, f"no conductor has offered it for {seconds:.0f} s"
        if row["state"] == UP and row["disabled"]:
            return DISABLED, "disabled by hand"
        return row["state"], row["reason"]

    def is_conducted(self, build: str) -> bool:
        """Whether conductors know of a build, so that it may wait for one of them."""
        statement = select(jobs.c.build).where(jobs.c.build == build)
        return transact(self._store, lambda c: c.execute(statement).first()) is not None

    # --- claims ----------------------------------------------------------------------------------

    def inventory(self) -> Iterable[Thing]:
        """Every claim, for `gc`."""
        statement = select(claims.c.key, claims.c.build)
        for key, build in transact(self._store, lambda c: c.execute(statement).all()):
            yield Thing(kind="claim", id=key, key=key, build=build)

    def find(self, key: str) -> Row | None:
        """The claim with this key."""
        return transact(self._store, lambda connection: _claim(connection, key))

    def claim(
        self, key: str, build: str, host: str, demand: Demand, epoch: int | None = None
    ) -> Row:
        """Take room on a host. Raises NoRoom: no room, down, or a group is against it.

        With an `epoch` it is taken in one transaction with seeing that the build still has it:
        StaleOwner when another process has taken it over.
        """
        postgresql = self._store.engine.dialect.name == "postgresql"

        def work(connection: Connection) -> Row:
            if postgresql and demand.affinity_group is not None:
                # the first two machines of a group must not begin it on two hosts at once
                connection.execute(
                    text("SELECT pg_advisory_xact_lock(7236424, hashtext(:name))"),
                    {"name": demand.affinity_group},
                )
            touched = connection.execute(
                update(hosts).where(hosts.c.name == host).values(seq=hosts.c.seq + 1)
            )
            if touched.rowcount == 0:
                raise NoRoom(f"host {host} is not known")
            if epoch is not None:
                # after the host's row: the journal holds rows of builds, and never waits for a host
                owned = select(builds.c.epoch).where(builds.c.id == build)
                found = connection.execute(owned.with_for_update(read=True)).scalar()
                if found != epoch:
                    raise StaleOwner(f"build {build} has another owner now (epoch {found})")
            present = _claim(connection, key)
            if present is not None:
                return present
            refusal = self._rooms(connection, demand, [host])[0].refusal(demand)
            if refusal is not None:
                raise NoRoom(f"host {host}: {refusal}")
            row = {
                "key": key, "build": build, "host": host, "vcpus": demand.vcpus,
                "memory_mib": demand.memory_mib, "disk_gib": demand.disk_gib,
                "affinity_group": demand.affinity_group,
                "anti_affinity_group": demand.anti_affinity_group,
            }  # fmt: skip
            connection.execute(insert(claims).values(**row))
            return row

        try:
            return transact(self._store, work)
        finally:
            self.forget(build)

    def release(self, key: str) -> None:
        """Give room back; a claim that is not there is success."""

        def work(connection: Connection) -> None:
            if connection.execute(delete(claims).where(claims.c.key == key)).rowcount > 0:
                wake(connection)

        transact(self._store, work)

    # --- placement -------------------------------------------------------------------------------

    def place(
        self, demand: Demand, among: Sequence[str], tried: Sequence[str], build: str | None = None
    ) -> str:
        """The host with the most room for `demand` of those not tried yet. Raises NoRoom.

        For a `build` the room is kept, among the builds of this process, until its claim is made,
        it is placed elsewhere, or forgotten: ten that begin at once do not all see the same room.
        """
        while True:
            with self._lock:
                if build is not None:
                    self._reserved.pop(build, None)
                kept = dict(self._reserved)
            # not under the lock: the store may be away for long
            host = choose(self._rooms_of(demand, among, kept), demand, tried)
            with self._lock:
                if build is None:
                    return host
                if self._reserved.items() <= kept.items():  # nobody has been placed meanwhile
                    self._reserved[build] = (host, demand)
                    return host

    def forget(self, build: str) -> None:
        """No room needs to be kept for this build."""
        with self._lock:
            self._reserved.pop(build, None)

    def rooms(self, demand: Demand, among: Sequence[str] | None = None) -> list[Room]:
        """What is left on each of these hosts, by default on every one, as `demand` sees it."""
        with self._lock:
            kept = dict(self._reserved)
        return self._rooms_of(demand, among, kept)

    def _rooms_of(
        self,
        demand: Demand,
        among: Sequence[str] | None,
        kept: Mapping[str, tuple[str, Demand]],
    ) -> list[Room]:
        return transact(self._store, lambda c: self._rooms(c, demand, among, kept))

    def _rooms(
        self,
        connection: Connection,
        demand: Demand,
        among: Sequence[str] | None,
        kept: Mapping[str, tuple[str, Demand]] | None = None,
    ) -> list[Room]:
        kept = kept or {}
        # what is kept for a build may just now have become its claim: it is not counted twice
        used = _used(among, but=list(kept))
        statement = (
            select(hosts, *_sums(used))
            .select_from(hosts.outerjoin(used, hosts.c.name == used.c.host))
            .order_by(hosts.c.name)
        )
        if among is not None:
            statement = statement.where(hosts.c.name.in_(list(among)))
        rows = connection.execute(statement).mappings().all()
        together = _hosts_of(connection, claims.c.affinity_group, demand.affinity_group)
        apart = _hosts_of(connection, claims.c.anti_affinity_group, demand.anti_affinity_group)
        for host, other in kept.values():
            if demand.affinity_group is not None and other.affinity_group == demand.affinity_group:
                together.add(host)
            anti = demand.anti_affinity_group
            if anti is not None and other.anti_affinity_group == anti:
                apart.add(host)
        rooms = []
        for row in rows:
            mine = [other for host, other in kept.values() if host == row["name"]]
            vcpus, memory, disk = (
                row[what] - (row[f"{what}_used"] or 0) - sum(getattr(d, what) for d in mine)
                for what in ("vcpus", "memory_mib", "disk_gib")
            )
            rooms.append(
                Room(
                    host=row["name"],
                    state=self._state(row)[0],
                    vcpus=vcpus,
                    memory_mib=memory,
                    disk_gib=disk,
                    anti_affine=row["name"] in apart,
                    group_elsewhere=bool(together) and row["name"] not in together,
                )
            )
        return rooms


def _unknown(name: str) -> BadInput:
    return BadInput(f"no host is named {name!r}; `buildflow hosts` lists them")


def _silent_since(now: datetime) -> str:
    return stamp(now - timedelta(seconds=SILENT_S))


def _claim(connection: Connection, key: str) -> Row | None:
    row = connection.execute(select(claims).where(claims.c.key == key)).mappings().first()
    return dict(row) if row is not None else None


def _used(among: Sequence[str] | None = None, but: Sequence[str] = ()) -> Any:
    """What is claimed of each host, `but` by these builds."""
    statement = select(
        claims.c.host,
        func.count().label("builds"),
        func.sum(claims.c.vcpus).label("vcpus_used"),
        func.sum(claims.c.memory_mib).label("memory_mib_used"),
        func.sum(claims.c.disk_gib).label("disk_gib_used"),
    ).group_by(claims.c.host)
    if among is not None:
        statement = statement.where(claims.c.host.in_(list(among)))
    if but:
        statement = statement.where(claims.c.build.not_in(but))
    return statement.subquery()


def _sums(used: Any) -> list[Any]:
    return [column for column in used.c if column.name != "host"]


def _hosts_of(connection: Connection, column: Any, group: str | None) -> set[str]:
    """Where the machines of a group are; one that none has is free to begin."""
    if group is None:
        return set()
    return set(connection.execute(select(claims.c.host).where(column == group)).scalars())
