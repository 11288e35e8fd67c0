"""What a hypervisor needs to start a guest, and how it fails when something is missing.

Classes and codes are those that libvirt 9.0 with QEMU 7.2 gave for the same gap.
"""

from __future__ import annotations

from typing import Final

from buildflow.drivers.protocols import Json
from buildflow.drivers.simulated import guests
from buildflow.drivers.simulated.change import Change
from buildflow.drivers.simulated.export import exports_to
from buildflow.drivers.simulated.names import chap_password, fingerprint_of
from buildflow.drivers.simulated.options import WorldOptions
from buildflow.drivers.simulated.state import State
from buildflow.errors import DriverError, Exhausted, Refused

INTERNAL_ERROR: Final = 1
SYSTEM_ERROR: Final = 38
NO_NETWORK: Final = 43
NO_SECRET: Final = 66


def check_start(change: Change, options: WorldOptions, domain: Json) -> None:
    """Raise what a start would fail with; note what a hypervisor would let pass but must not be."""
    state, now, host = change.state, change.now, domain["host"]
    tables = state.tables
    check_room(state, options, domain, now)
    if domain["directory"] and f"{host}/{_last(domain['directory'])}" not in tables["directories"]:
        raise DriverError(
            f"Unable to open file: {domain['directory']}/console.log: No such file or directory",
            driver="compute",
            code=SYSTEM_ERROR,
        )
    for path in domain["disks"]:
        _check_disk(state, host, path, now)
    for vif in domain["vifs"]:
        _check_vif(state, options, host, vif)
    for volume in domain["volumes"]:
        _check_volume(change, host, volume)
    for other in live_users(state, f"uuid:{domain['uuid']}", now):
        change.violate(f"instance {domain['uuid']} runs on {other['host']} and on {host}")


def live_users(state: State, token: str, now: float) -> list[Json]:
    """The domains with a live QEMU that has this open."""
    domains = state.tables["domains"]
    return [
        domains[record_id]
        for record_id in sorted(state.users(token))
        if guests.is_alive(domains[record_id], now)
    ]


def check_room(state: State, options: WorldOptions, domain: Json, now: float) -> None:
    """Raise Exhausted when the host can't hold one more guest of this size beside its live ones."""
    host = domain["host"]
    capacity = options.capacity_of(host)
    if capacity.memory_mib is None and capacity.vcpus is None:
        return
    others = [
        other
        for other in state.tables["domains"].values()
        if other["host"] == host and other["uuid"] != domain["uuid"] and guests.is_alive(other, now)
    ]
    for name, limit, unit in (
        ("memory_mib", capacity.memory_mib, "MiB of memory"),
        ("vcpus", capacity.vcpus, "vcpus"),
    ):
        taken = sum(other[name] for other in others)
        if limit is not None and taken + domain[name] > limit:
            raise Exhausted(
                f"cannot set up guest memory: host {host} has {limit} {unit}, {taken} of them in"
                f" use, and {domain[name]} are asked for",
                driver="compute",
                code=INTERNAL_ERROR,
            )


def _check_disk(state: State, host: str, path: str, now: float) -> None:
    directory, _, name = path.rpartition("/")
    known = f"{host}/{directory}" in state.in_directory or path.startswith("/sim/")
    if not known:
        return  # a file of some other driver's
    key = name.removeprefix("disk-").removesuffix(".qcow2")
    if f"{host}/{key}" not in state.tables["disks"]:
        raise Refused(
            f"Cannot access storage file '{path}': No such file or directory",
            driver="compute",
            code=SYSTEM_ERROR,
        )
    if live_users(state, f"disk:{host}/{path}", now):
        raise Refused(
            f'Failed to get "write" lock: is another process using the image [{path}]?',
            driver="compute",
            code=INTERNAL_ERROR,
        )


def _check_vif(state: State, options: WorldOptions, host: str, vif: Json) -> None:
    if vif["tap"] and f"{host}/{vif['id']}" not in state.tables["vifs"]:
        raise DriverError(
            f"Unable to use tap device {vif['tap']}: No such device",
            driver="compute",
            code=SYSTEM_ERROR,
        )
    if vif["bridge"] and f"{host}/{vif['bridge']}" in options.missing_bridges:
        raise DriverError(
            f"Cannot get interface MTU on '{vif['bridge']}': No such device",
            driver="compute",
            code=SYSTEM_ERROR,
        )
    if vif["network"] and not any(
        network["name"] == vif["network"] for network in state.tables["networks"].values()
    ):
        raise Refused(
            f"Network not found: no network with matching name '{vif['network']}'",
            driver="compute",
            code=NO_NETWORK,
        )


def _check_volume(change: Change, host: str, volume: Json) -> None:
    state = change.state
    volume_id = volume["id"]
    record = state.tables["volumes"].get(volume_id)
    if volume["device"] is not None:
        if f"{host}/{volume_id}" not in state.tables["connections"]:
            raise Refused(
                f"Cannot access storage file '{volume['device']}': No such file or directory",
                driver="compute",
                code=SYSTEM_ERROR,
            )
    else:
        _check_login(state, host, volume, exports_to(record, host))
    others = live_users(state, f"volume:{volume_id}", change.now)
    if others and record is not None and not record["multiattach"]:
        change.violate(f"volume {volume_id} is open in two guests at once")


def _check_login(state: State, host: str, volume: Json, attachments: list[str]) -> None:
    secret = None
    if volume["secret"] is not None:
        secret = state.tables["secrets"].get(f"{host}/{volume['secret']}")
        if secret is None:
            raise Refused(
                f"Secret not found: no secret with matching uuid '{volume['secret']}'",
                driver="compute",
                code=NO_SECRET,
            )
    right = [fingerprint_of(chap_password(attachment)) for attachment in attachments]
    if secret is None or secret["fingerprint"] not in right:
        raise Refused(
            f"iSCSI: Failed to log in to the target of volume {volume['id']}",
            driver="compute",
            code=INTERNAL_ERROR,
        )


def _last(path: str) -> str:
    return path.rpartition("/")[2]
