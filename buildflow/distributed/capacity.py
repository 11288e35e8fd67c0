"""Hosts, what room they have, and what builds have claimed of it.

A claim is an effect like any other: made under its key, found by its key, released by its key. The
host's row is touched first, so that two builds that want the last room take turns and one of them
is refused (nova/compute/claims.py, which counts on one host's own view).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from buildflow.distributed.placement import Room, choose
from buildflow.drivers.protocols import Demand
from buildflow.engine.clock import Clock, stamp
from buildflow.engine.schema import claims, hosts
from buildflow.engine.store import Row, Store
from buildflow.errors import Exhausted

UP, DOWN, DISABLED = "up", "down", "disabled"


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

    def offer(self, host: HostRow) -> None:
        """Say that a host is there, with its room; one that was disabled stays so."""
        now = stamp(self._clock.now())
        values = {
            "uri": host.uri, "vcpus": host.vcpus, "memory_mib": host.memory_mib,
            "disk_gib": host.disk_gib, "seen_at": now, "reason": None,
        }  # fmt: skip

        def work(connection: Connection) -> None:
            known = connection.execute(
                update(hosts).where(hosts.c.name == host.name).values(**values, seq=hosts.c.seq + 1)
            )
            if known.rowcount == 0:
                connection.execute(insert(hosts).values(name=host.name, state=UP, seq=0, **values))
            connection.execute(
                update(hosts)
                .where((hosts.c.name == host.name) & (hosts.c.state == DOWN))
                .values(state=UP)
            )

        self._do(work)

    def mark(self, name: str, state: str, reason: str | None = None) -> bool:
        """Set a host up, down or disabled; False when there is no such host."""

        def work(connection: Connection) -> int:
            result = connection.execute(
                update(hosts).where(hosts.c.name == name).values(state=state, reason=reason)
            )
            return int(result.rowcount)

        return bool(self._do(work))

    def listed(self) -> list[Row]:
        """Every host with what is claimed of it."""
        used = (
            select(
                claims.c.host,
                func.count().label("builds"),
                func.sum(claims.c.vcpus).label("vcpus_used"),
                func.sum(claims.c.memory_mib).label("memory_mib_used"),
                func.sum(claims.c.disk_gib).label("disk_gib_used"),
            )
            .group_by(claims.c.host)
            .subquery()
        )
        statement = (
            select(
                hosts,
                func.coalesce(used.c.builds, 0).label("builds"),
                func.coalesce(used.c.vcpus_used, 0).label("vcpus_used"),
                func.coalesce(used.c.memory_mib_used, 0).label("memory_mib_used"),
                func.coalesce(used.c.disk_gib_used, 0).label("disk_gib_used"),
            )
            .select_from(hosts.outerjoin(used, hosts.c.name == used.c.host))
            .order_by(hosts.c.name)
        )

        def work(connection: Connection) -> Any:
            return [dict(row) for row in connection.execute(statement).mappings()]

        rows: list[Row] = self._do(work)
        for row in rows:
            del row["seq"]
        return rows

    def find(self, key: str) -> Row | None:
        """The claim with this key."""

        def work(connection: Connection) -> Any:
            row = connection.execute(select(claims).where(claims.c.key == key)).mappings().first()
            return dict(row) if row is not None else None

        found: Row | None = self._do(work)
        return found

    def claim(self, key: str, build: str, host: str, demand: Demand) -> Row:
        """Take room on a host. Raises Exhausted: no room, down, or a group is against it."""

        def work(connection: Connection) -> Row:
            touched = connection.execute(
                update(hosts).where(hosts.c.name == host).values(seq=hosts.c.seq + 1)
            )
            if touched.rowcount == 0:
                raise Exhausted(f"host {host} is not known", driver="capacity")
            present = (
                connection.execute(select(claims).where(claims.c.key == key)).mappings().first()
            )
            if present is not None:
                return dict(present)
            rooms = self._rooms(connection, demand, [host])
            refusal = rooms[0].refusal(demand)
            if refusal is not None:
                raise Exhausted(f"host {host}: {refusal}", driver="capacity")
            row = {
                "key": key, "build": build, "host": host, "vcpus": demand.vcpus,
                "memory_mib": demand.memory_mib, "disk_gib": demand.disk_gib,
                "affinity_group": demand.affinity_group,
                "anti_affinity_group": demand.anti_affinity_group,
            }  # fmt: skip
            connection.execute(insert(claims).values(**row))
            return row

        claimed: Row = self._do(work)
        return claimed

    def release(self, key: str) -> None:
        """Give room back; a claim that is not there is success."""
        self._do(lambda connection: connection.execute(delete(claims).where(claims.c.key == key)))

    def place(self, demand: Demand, among: Sequence[str], tried: Sequence[str]) -> str:
        """The host with the most room for `demand` of those not tried yet. Raises Exhausted."""
        rooms = self._do(lambda connection: self._rooms(connection, demand, among))
        return choose(rooms, demand, tried)

    def _rooms(self, connection: Connection, demand: Demand, among: Sequence[str]) -> list[Room]:
        rows = connection.execute(
            select(hosts).where(hosts.c.name.in_(list(among))).order_by(hosts.c.name)
        ).mappings()
        taken: dict[str, list[Mapping[str, Any]]] = {}
        for claim in connection.execute(
            select(claims).where(claims.c.host.in_(list(among)))
        ).mappings():
            taken.setdefault(claim["host"], []).append(dict(claim))
        groups = self._group_hosts(connection, demand)
        rooms = []
        for row in rows:
            mine = taken.get(row["name"], [])
            rooms.append(
                Room(
                    host=row["name"],
                    state=row["state"],
                    vcpus=row["vcpus"] - sum(c["vcpus"] for c in mine),
                    memory_mib=row["memory_mib"] - sum(c["memory_mib"] for c in mine),
                    disk_gib=row["disk_gib"] - sum(c["disk_gib"] for c in mine),
                    anti_affine=any(
                        c["anti_affinity_group"] == demand.anti_affinity_group
                        for c in mine
                        if demand.anti_affinity_group is not None
                    ),
                    group_elsewhere=bool(groups) and row["name"] not in groups,
                )
            )
        return rooms

    def _group_hosts(self, connection: Connection, demand: Demand) -> set[str]:
        """Where the machines of the affinity group are; one that none has is free to begin."""
        if demand.affinity_group is None:
            return set()
        return set(
            connection.execute(
                select(claims.c.host).where(claims.c.affinity_group == demand.affinity_group)
            ).scalars()
        )

    def _do(self, work: Any) -> Any:
        try:
            with self._store.engine.begin() as connection:
                return work(connection)
        except SQLAlchemyError as error:
            raise self._store.translate(error) from error
