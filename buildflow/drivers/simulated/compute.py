"""The compute driver of one simulated host."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from buildflow.drivers.protocols import Domain, GuestSpec, Image, Json, Pause, Thing
from buildflow.drivers.simulated import domain_xml, guests, inventory
from buildflow.drivers.simulated.by_hand import stopped
from buildflow.drivers.simulated.change import Change
from buildflow.drivers.simulated.export import PORTAL, device_path, exports_to, iqn_of
from buildflow.drivers.simulated.launch import check_room, check_start, live_users
from buildflow.drivers.simulated.names import (
    SECRET_MARK,
    chap_password,
    fingerprint_of,
)
from buildflow.errors import BadInput, Conflict, DriverError, Exhausted, Refused
from buildflow.states import power

if TYPE_CHECKING:
    from buildflow.drivers.simulated.world import SimulatedWorld

_ENOSPC: Final = 28
_MAX_VCPUS: Final = 512
_MAX_MEMORY_MIB: Final = 4 << 20  # more than any host has, where no capacity is set


class SimulatedCompute:
    """ComputeDriver of `host` in `world`.

    `volume_attach` is as in the settings: `host` gives the guest a device of the host's, `qemu`
    leaves the volume to QEMU's own initiator, and `auto` does both, so that a build makes both
    kinds of effect: the host holds a session, and QEMU still needs its secret.
    """

    name = "simulated"

    def __init__(
        self, world: SimulatedWorld, host: str = "sim1", *, volume_attach: str = "auto"
    ) -> None:
        self.world = world
        self.host = host
        self._volume_attach = volume_attach

    # --- the driver -----------------------------------------------------------------------------

    def check(self) -> None:
        """See that the world can be read. Raises HostUnusable."""
        with self.world.look():
            return

    def inventory(self) -> Iterable[Thing]:
        """Everything on this host."""
        self.world.delay()
        with self.world.look() as state:
            return list(inventory.on_host(state, self.host, self.world.now()))

    def close(self) -> None:
        """The world stays."""

    def hosts(self) -> Sequence[str]:
        """Its one host."""
        return (self.host,)

    def validate(self, spec: GuestSpec) -> None:
        """Refuse a bad name or one in use, more memory or vcpus than there are, an unknown VIF."""
        self.world.delay()
        domain_xml.check_name(spec.name)
        if spec.memory_mib < 1:
            raise BadInput(f"memory must be at least 1 MiB, not {spec.memory_mib}")
        if not 1 <= spec.vcpus <= _MAX_VCPUS:
            raise BadInput(f"a machine has 1 to {_MAX_VCPUS} vcpus, not {spec.vcpus}")
        if spec.memory_mib > _MAX_MEMORY_MIB:
            raise Exhausted(
                f"{spec.memory_mib} MiB of memory are asked for, and no host has so much",
                driver="compute",
            )
        for vif in spec.network_info:
            domain_xml.check_vif(vif)
        with self.world.look() as state:
            now = self.world.now()
            asked = {
                "host": self.host,
                "uuid": spec.uuid,
                "memory_mib": spec.memory_mib,
                "vcpus": spec.vcpus,
            }
            check_room(state, self.world.options, asked, now)
            holder = self._named(spec.name, now)
            if holder is not None and holder["uuid"] != spec.uuid:
                owner = f"build {holder['build']}" if holder["build"] else "a domain not ours"
                raise Conflict(f"the name {spec.name} is taken by {owner}")

    def virt_type(self, wanted: str | None) -> str:
        """`kvm` only where the world says that a boot probe has passed."""
        with self.world.look():
            kvm = self.world.options.kvm
        if wanted == "kvm" and not kvm:
            raise BadInput(f"host {self.host} has no working KVM: use qemu")
        if wanted not in (None, "kvm", "qemu"):
            raise BadInput(f"there is no virt type {wanted!r}: use kvm or qemu")
        return wanted or ("kvm" if kvm else "qemu")

    # --- files ----------------------------------------------------------------------------------

    def find_directory(self, key: str) -> str | None:
        """Path of the instance directory."""
        found = self._find("directories", key)
        return None if found is None else str(found["path"])

    def create_directory(self, key: str) -> str:
        """Make it."""
        self.world.delay()
        path = f"/sim/{self.host}/instances/{key}"
        with self.world.change("create_directory", key, path) as change:
            if self._at(key) not in change.state.tables["directories"]:
                self._need_space(f"cannot make {path}")
                change.make("directory", key)
                change.put(
                    "directories", self._at(key), {"host": self.host, "key": key, "path": path}
                )
        return path

    def delete_directory(self, key: str) -> None:
        """Remove it with the disks in it."""
        self.world.delay()
        with self.world.change("delete_directory", key) as change:
            found = change.state.tables["directories"].get(self._at(key))
            if found is None:
                return
            change.id = found["path"]
            self._need_unused(change, "directory", found["path"], "deleted")
            change.put("directories", self._at(key), None)
            for disk_id in sorted(
                change.state.in_directory.get(f"{self.host}/{found['path']}", ())
            ):
                disk = change.state.tables["disks"][disk_id]
                self._need_unused(change, "disk", disk["path"], "deleted with its directory")
                change.put("disks", disk_id, None)

    def find_disk(self, key: str, directory: str) -> str | None:
        """Path of the disk."""
        found = self._find("disks", key)
        return None if found is None else str(found["path"])

    def create_disk(self, key: str, directory: str, image: Image, size: int | None) -> str:
        """Make it. Raises Refused without its directory, Exhausted on a full disk."""
        self.world.delay()
        path = f"{directory}/disk-{key}.qcow2"
        with self.world.change("create_disk", key, path) as change:
            if self._at(key) in change.state.tables["disks"]:
                return path
            place = self._at(directory.rpartition("/")[2])
            if place not in change.state.tables["directories"]:
                raise DriverError(f"there is no directory {directory}", driver="compute", code=2)
            self._need_space(f"cannot make {path}")
            change.make("disk", key)
            change.put(
                "disks",
                self._at(key),
                {
                    "host": self.host, "key": key, "path": path, "directory": directory,
                    "image": image.path, "size": size or image.virtual_size,
                },
            )  # fmt: skip
        return path

    def delete_disk(self, key: str, directory: str) -> None:
        """Remove it."""
        self.world.delay()
        with self.world.change("delete_disk", key) as change:
            found = change.state.tables["disks"].get(self._at(key))
            if found is not None:
                change.id = found["path"]
                self._need_unused(change, "disk", found["path"], "deleted")
                change.put("disks", self._at(key), None)

    # --- secrets --------------------------------------------------------------------------------

    def find_secret(self, key: str) -> bool:
        """Whether it is there."""
        return self._find("secrets", key) is not None

    def create_secret(self, key: str, username: str, password: str) -> None:
        """Keep enough of it to tell a right password from a wrong one, and no more."""
        self.world.delay()
        with self.world.change("create_secret", key, key) as change:
            if self._at(key) not in change.state.tables["secrets"]:
                change.make("secret", key)
                record = {
                    "host": self.host,
                    "key": key,
                    "username": username,
                    "fingerprint": fingerprint_of(password),
                }
                change.put("secrets", self._at(key), record)

    def delete_secret(self, key: str) -> None:
        """Remove it."""
        self.world.delay()
        with self.world.change("delete_secret", key, key) as change:
            if self._at(key) in change.state.tables["secrets"]:
                change.put("secrets", self._at(key), None)

    # --- volumes --------------------------------------------------------------------------------

    def connector(self) -> Json:
        """What a volume service must know of this host."""
        return {
            "host": self.host,
            "initiator": f"iqn.1994-05.com.redhat:{self.host}",
            "ip": "198.51.100.1",
            "multipath": False,
            "platform": "x86_64",
            "os_type": "linux",
        }

    def connect_volume(self, connection_info: Json, secret: Callable[[], Json]) -> Json:
        """Log in to the volume's target. Raises Refused when it is not exported to this host."""
        self.world.delay()
        data = connection_info["data"]
        if data.get("target_portal") != PORTAL:
            return {}
        volume_id = data["volume_id"]
        # asked for outside of the change: it is a call of another driver
        as_device = self._volume_attach == "host"
        password = secret()["data"].get("auth_password") if as_device else None
        if self._volume_attach != "qemu":
            with self.world.change("connect_volume", id=volume_id) as change:
                if "auth_password" in data:
                    change.violate(f"the kept connection_info of volume {volume_id} has a password")
                if self._at(volume_id) not in change.state.tables["connections"]:
                    self._need_export(change, volume_id, password)
                    change.put(
                        "connections",
                        self._at(volume_id),
                        {"host": self.host, "volume": volume_id, "iqn": iqn_of(volume_id)},
                    )
        return {"device_path": device_path(volume_id)} if as_device else {}

    def find_connection(self, connection_info: Json) -> bool:
        """Whether this host is logged in to the volume's target."""
        return self._find("connections", connection_info["data"].get("volume_id", "")) is not None

    def disconnect_volume(self, connection_info: Json) -> None:
        """Log out."""
        self.world.delay()
        volume_id = connection_info["data"].get("volume_id", "")
        with self.world.change("disconnect_volume", id=volume_id) as change:
            if self._at(volume_id) in change.state.tables["connections"]:
                for user in live_users(change.state, f"volume:{volume_id}", change.now):
                    if user["host"] == self.host:
                        change.violate(
                            f"volume {volume_id} was disconnected from {self.host} under the live"
                            f" QEMU of {user['uuid']}"
                        )
                change.put("connections", self._at(volume_id), None)

    # --- VIFs -----------------------------------------------------------------------------------

    def find_vif(self, vif: Json) -> bool:
        """Whether the port's tap is there."""
        return vif["type"] == "tap" and self._find("vifs", vif["id"]) is not None

    def plug_vif(self, vif: Json) -> None:
        """Make the tap of a tap port; the hypervisor plugs the others itself."""
        self.world.delay()
        domain_xml.check_vif(vif)
        if vif["type"] != "tap":
            return
        with self.world.change("plug_vif", id=vif["id"]) as change:
            if self._at(vif["id"]) not in change.state.tables["vifs"]:
                record = {"host": self.host, "port": vif["id"], "devname": vif["devname"]}
                change.put("vifs", self._at(vif["id"]), record)

    def unplug_vif(self, vif: Json) -> None:
        """Remove the tap."""
        self.world.delay()
        with self.world.change("unplug_vif", id=vif["id"]) as change:
            if self._at(vif["id"]) in change.state.tables["vifs"]:
                for user in live_users(change.state, f"port:{vif['id']}", change.now):
                    if user["host"] == self.host:
                        change.violate(
                            f"port {vif['id']} was unplugged from {self.host} under the live QEMU"
                            f" of {user['uuid']}"
                        )
                change.put("vifs", self._at(vif["id"]), None)

    # --- the domain -----------------------------------------------------------------------------

    def to_xml(self, spec: GuestSpec) -> str:
        """The domain's XML. Touches nothing."""
        return domain_xml.to_xml(spec)

    def find_domain(self, uuid: str) -> Domain | None:
        """The domain as it is now."""
        self.world.delay()
        with self.world.look() as state:
            record = state.tables["domains"].get(self._at(uuid))
            now = self.world.now()
            if record is None or guests.is_gone(record, now):
                return None
            return guests.described(record, now)

    def define_domain(self, uuid: str, xml: str) -> Domain:
        """Define it. Raises Conflict for a name or uuid of another domain."""
        self.world.delay()
        facts = domain_xml.from_xml(xml)
        with self.world.change("define_domain", uuid, uuid) as change:
            now = change.now
            found = change.state.tables["domains"].get(self._at(uuid))
            if found is not None and not guests.is_gone(found, now):
                if found["build"] is None:
                    raise Conflict(f"domain {found['name']} has uuid {uuid} and is not ours")
                return guests.described(found, now)
            holder = self._named(facts["name"], now)
            if holder is not None:
                raise Conflict(
                    f"cannot define the domain: operation failed: domain '{facts['name']}' already"
                    f" exists with uuid {holder['uuid']}"
                )
            self._need_space("cannot define the domain")
            if SECRET_MARK in xml:
                change.violate(f"the XML of domain {uuid} holds a password")
            record = {
                **facts, "host": self.host, "uuid": uuid, "persistent": True, "active": False,
                "power": power.SHUTDOWN, "behaviour": "", "acts_at": None, "until": None,
            }  # fmt: skip
            change.put("domains", self._at(uuid), record)
            return guests.described(record, now)

    def undefine_domain(self, uuid: str) -> None:
        """Undefine it. Raises Refused while it is active."""
        self.world.delay()
        with self.world.change("undefine_domain", uuid, uuid) as change:
            found = change.state.tables["domains"].get(self._at(uuid))
            if found is None:
                return
            if guests.is_alive(found, change.now):
                raise Refused(
                    f"domain {found['name']} is running: destroy it before it is undefined",
                    driver="compute",
                )
            change.put("domains", self._at(uuid), None)

    def start_domain(self, uuid: str) -> Domain:
        """Start it; what it does then is up to the world's options."""
        self.world.delay()
        with self.world.change("start_domain", uuid, uuid) as change:
            found = change.state.tables["domains"].get(self._at(uuid))
            if found is None or guests.is_gone(found, change.now):
                raise Refused(f"cannot start domain {uuid}: there is none", driver="compute")
            if guests.is_alive(found, change.now):
                return guests.described(found, change.now)
            options = self.world.options
            check_start(change, options, found)
            record = {
                **found, "active": True, "power": power.RUNNING, "until": None,
                "behaviour": options.behaviour_of(found["name"]),
                "acts_at": change.now + options.boot_seconds,
            }  # fmt: skip
            change.put("domains", self._at(uuid), record)
            return Domain(uuid, record["name"], power.RUNNING, True, True, record["build"])

    def destroy_domain(self, uuid: str) -> None:
        """Stop it hard."""
        self.world.delay()
        with self.world.change("destroy_domain", uuid, uuid) as change:
            found = change.state.tables["domains"].get(self._at(uuid))
            if found is not None and guests.is_alive(found, change.now):
                change.put("domains", self._at(uuid), stopped(found, power.SHUTDOWN, change.now))

    def console(self, uuid: str, offset: int = 0) -> tuple[bytes, int]:
        """What the guest has written since `offset`."""
        self.world.delay()
        with self.world.look() as state:
            record = state.tables["domains"].get(self._at(uuid))
            text = b"" if record is None else guests.console_of(record, self.world.now())
        return text[offset:], max(offset, len(text))

    def addresses(self, uuid: str, network_info: Sequence[Json], pause: Pause) -> list[str]:
        """The fixed addresses of a guest that has come up. Raises BadInput when nobody knows."""
        self.world.delay()
        askable = [vif for vif in network_info if vif["type"] != "user"]
        if not askable:
            raise BadInput(
                "nobody can be asked for the addresses of this guest's ports: wait for its console"
                " or its power state instead"
            )
        with self.world.look() as state:
            now = self.world.now()
            record = state.tables["domains"].get(self._at(uuid))
            if record is None or not guests.is_ready(record, now):
                return []
        return [
            ip["address"]
            for vif in askable
            for subnet in vif["network"]["subnets"]
            for ip in subnet["ips"]
        ]

    # --- inside ---------------------------------------------------------------------------------

    def _at(self, key: str) -> str:
        return f"{self.host}/{key}"

    def _find(self, table: str, key: str) -> Json | None:
        self.world.delay()
        with self.world.look() as state:
            return state.tables[table].get(f"{self.host}/{key}")

    def _named(self, name: str, now: float) -> Json | None:
        state = self.world.state
        record_id = state.by_name.get(self._at(name))
        record = None if record_id is None else state.tables["domains"].get(record_id)
        return None if record is None or guests.is_gone(record, now) else record

    def _need_space(self, doing: str) -> None:
        if self.host in self.world.options.full_disks:
            raise Exhausted(f"{doing}: No space left on device", driver="compute", code=_ENOSPC)

    def _need_unused(self, change: Change, kind: str, path: str, done: str) -> None:
        for user in live_users(change.state, f"{kind}:{self.host}/{path}", change.now):
            change.violate(f"{kind} {path} was {done} under the live QEMU of {user['uuid']}")

    def _need_export(self, change: Change, volume_id: str, password: str | None) -> None:
        attachments = exports_to(change.state.tables["volumes"].get(volume_id), self.host)
        right = [chap_password(attachment) for attachment in attachments]
        if not right or (password is not None and password not in right):
            raise Refused(
                f"cannot log in to the target of volume {volume_id} from {self.host}",
                driver="compute",
                code=24,
            )
