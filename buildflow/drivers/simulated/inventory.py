"""A world as a plain value: what an oracle compares, and what drivers list."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

from buildflow.drivers.protocols import Json, Thing
from buildflow.drivers.simulated import guests
from buildflow.drivers.simulated.state import State
from buildflow.drivers.simulated.volume_status import status_of

# rows of attachments by how far they have come
ATTACHMENT_KINDS = {
    "reserved": "reservation",
    "attaching": "attachment",
    "attached": "attached",
}


def snapshot(state: State, now: float) -> Json:
    """See SimulatedWorld.snapshot."""
    # to JSON and back: sorted, and nothing that a reader changes is the world's own
    found: Json = json.loads(json.dumps(_whole(state, now), sort_keys=True))
    return found


def digest(state: State, now: float) -> str:
    """See SimulatedWorld.digest."""
    text = json.dumps(_whole(state, now), sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _whole(state: State, now: float) -> Json:
    tables = state.tables
    hosts: dict[str, Json] = {}

    def on(host: str, what: str) -> Json:
        table: Json = hosts.setdefault(host, {}).setdefault(what, {})
        return table

    for name in ("directories", "disks", "secrets", "connections", "vifs"):
        for record_id, record in tables[name].items():
            host, _, short = record_id.partition("/")
            on(host, name)[short] = {k: v for k, v in record.items() if k not in _INNER}
    for domain in tables["domains"].values():
        if guests.is_gone(domain, now):
            continue
        state_now, active = guests.power_of(domain, now)
        on(domain["host"], "domains")[domain["uuid"]] = {
            "name": domain["name"],
            "build": domain["build"],
            "power_state": state_now,
            "active": active,
            "persistent": domain["persistent"],
            "ready": guests.is_ready(domain, now),
            "memory_mib": domain["memory_mib"],
            "vcpus": domain["vcpus"],
            "disks": domain["disks"],
            "volumes": [volume["id"] for volume in domain["volumes"]],
            "ports": [vif["id"] for vif in domain["vifs"]],
        }
    ports = {
        record_id: {
            name: port[name] for name in ("key", "instance", "network", "mac", "ip", "host", "own")
        }
        for record_id, port in tables["ports"].items()
    }
    volumes = {
        record_id: {
            "key": volume["key"],
            "instance": volume["instance"],
            "name": volume["name"],
            "size": volume["size"],
            "status": status_of(volume, now),
            "attachments": volume["attachments"],
        }
        for record_id, volume in tables["volumes"].items()
    }
    return {"hosts": hosts, "ports": ports, "volumes": volumes}


def on_host(state: State, host: str, now: float) -> Iterator[Thing]:
    """What a compute driver lists: files, secrets, connections, VIFs, domains and guests."""
    tables = state.tables
    prefix = f"{host}/"
    for kind, name in (("directory", "directories"), ("disk", "disks")):
        for record_id, record in tables[name].items():
            if record_id.startswith(prefix):
                detail = {"directory": record["directory"]} if kind == "disk" else {}
                yield Thing(kind, record["path"], key=record["key"], detail=detail)
    for record_id, secret in tables["secrets"].items():
        if record_id.startswith(prefix):
            yield Thing("secret", secret["key"], key=secret["key"])
    for record_id, connection in tables["connections"].items():
        if record_id.startswith(prefix):
            yield Thing("connection", connection["iqn"], detail={"volume_id": connection["volume"]})
    for record_id, vif in tables["vifs"].items():
        if record_id.startswith(prefix):
            yield Thing("vif", vif["devname"], key=vif["port"])
    for record_id, record in tables["domains"].items():
        if not record_id.startswith(prefix) or guests.is_gone(record, now):
            continue
        domain = guests.described(record, now)
        detail = {
            "name": domain.name,
            "power_state": domain.power_state,
            "active": domain.active,
            "persistent": domain.persistent,
        }
        yield Thing("domain", domain.uuid, key=domain.uuid, build=domain.build, detail=detail)
        if domain.active:
            yield Thing("guest", domain.uuid, key=domain.uuid, build=domain.build, detail=detail)


def ports(state: State) -> Iterator[Thing]:
    """What a network driver lists: kinds port and binding of those that carry our key."""
    for port in state.tables["ports"].values():
        if port["key"] is None:
            continue
        detail = {"network": port["network"], "preexisting": port["own"]}
        yield Thing("port", port["id"], key=port["key"], build=port["instance"], detail=detail)
        if port["host"] is not None:
            yield Thing(
                "binding", port["id"], build=port["instance"], detail={"host": port["host"]}
            )


def volumes(state: State, now: float) -> Iterator[Thing]:
    """What a volume driver lists: volumes with our key, and every attachment by its progress."""
    for volume in state.tables["volumes"].values():
        status = status_of(volume, now)
        if volume["key"] is not None:
            detail = {"name": volume["name"], "size": volume["size"], "status": status}
            yield Thing(
                "volume", volume["id"], key=volume["key"], build=volume["instance"], detail=detail
            )
        for record_id, row in volume["attachments"].items():
            yield Thing(
                ATTACHMENT_KINDS[row["status"]],
                record_id,
                key=row["key"],
                build=row["instance"],
                detail={"volume_id": volume["id"], "status": row["status"]},
            )


_INNER = frozenset({"host", "fingerprint"})
