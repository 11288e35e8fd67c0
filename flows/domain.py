"""The domain: its secrets, its XML, defined, started (nova/virt/libvirt/driver.py: spawn)."""

from __future__ import annotations

from typing import Any, ClassVar

from buildflow.drivers.protocols import ComputeDriver, GuestSpec, Json
from buildflow.engine.keys import effect_key
from buildflow.engine.step import Step
from buildflow.errors import Conflict, DriverError, GuestDied
from buildflow.flows.steps import EffectStep
from buildflow.states import power


class Secret(EffectStep):
    """A volume's CHAP password where QEMU reads it while it starts, and no longer."""

    kind: ClassVar[str] = "secret"

    def __init__(self, name: str, index: int, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self.index = index

    def facts(self, host: str, volume_id: str, attachment_id: str, block_device_info: Json) -> Json:
        """Whose password; never the password."""
        info = block_device_info["block_device_mapping"][self.index]["connection_info"]
        return {
            "host": host,
            "volume_id": volume_id,
            "attachment_id": attachment_id,
            "connector": self.on(host).connector(),
            "needed": needs_secret(info),
        }

    def without_effect(self, facts: Json) -> Json | None:
        """A volume without authentication needs none."""
        return None if facts["needed"] else {"secret": False}

    def find(self, key: str, facts: Json) -> Json | None:
        """Ask the hypervisor."""
        return {"secret": True} if self.on(facts["host"]).find_secret(key) else None

    def create(self, key: str, facts: Json) -> Json:
        """Ask Cinder again for the password, and hand it on."""
        info = self.world.volume.connection_secrets(
            facts["attachment_id"], facts["volume_id"], facts["connector"]
        )
        data = info["data"]
        self.on(facts["host"]).create_secret(key, data["auth_username"], data["auth_password"])
        return {"secret": True}

    def delete(self, key: str, facts: Json) -> None:
        """Remove it."""
        self.on(facts["host"]).delete_secret(key)


def needs_secret(connection_info: Json) -> bool:
    """Whether QEMU itself will log in to the volume with a password."""
    data = connection_info["data"]
    return data.get("auth_method") == "CHAP" and not data.get("device_path")


class ToXml(Step):
    """The domain's XML. Provides `xml`; makes nothing."""

    no_undo: ClassVar[str] = "it only computes"

    def __init__(self, name: str, request: Json, volumes: int, **kwargs: Any) -> None:
        ids = [f"volume_id_{index}" for index in range(volumes)]
        super().__init__(name, provides="xml", collect=ids, **kwargs)
        self.request, self.volumes = request, volumes

    def perform(
        self,
        host: str,
        directory: str,
        network_info: list[Json],
        block_device_info: Json,
        root_disk: str | None = None,
        **volume_ids: str,
    ) -> str:
        """See drivers/protocols.py: ComputeDriver.to_xml."""
        compute = self.on(host)
        run = self.run
        mapping = block_device_info["block_device_mapping"]
        secrets = {
            volume_ids[f"volume_id_{index}"]: effect_key(run.id, f"secret:{index}", run.attempt)
            for index in range(self.volumes)
            if needs_secret(mapping[index]["connection_info"])
        }
        spec = GuestSpec(
            uuid=run.id,
            name=self.request["name"],
            memory_mib=self.request["memory_mib"],
            vcpus=self.request["vcpus"],
            virt_type=compute.virt_type(self.request["virt_type"]),
            directory=directory,
            root_disk=root_disk,
            root_disk_format="qcow2",
            network_info=network_info,
            block_device_info=block_device_info,
            secrets=secrets,
            metadata={
                "build": run.id,
                "attempt": str(run.attempt),
                "created_at": run.row["created_at"],
                "image": self.request["image"] or "",
            },
        )
        return compute.to_xml(spec)

    def on(self, host: str) -> ComputeDriver:
        """The hypervisor of `host`."""
        compute: ComputeDriver = self.world.on(host)
        return compute


class DefineDomain(EffectStep):
    """The domain, defined and off. Its uuid is the instance's."""

    kind: ClassVar[str] = "domain"

    def facts(self, host: str, xml: str) -> Json:
        """Where, and its uuid."""
        return {"host": host, "uuid": self.run.id}

    def find(self, key: str, facts: Json) -> Json | None:
        """By uuid; one that is not ours is no success but a conflict."""
        domain = self.on(facts["host"]).find_domain(facts["uuid"])
        if domain is None:
            return None
        if domain.build != facts["uuid"]:
            raise Conflict(f"a domain that is not ours has the uuid {facts['uuid']}")
        return {"uuid": domain.uuid}

    def create(self, key: str, facts: Json) -> Json:
        """Define it, validated."""
        domain = self.on(facts["host"]).define_domain(facts["uuid"], self.xml)
        return {"uuid": domain.uuid}

    def delete(self, key: str, facts: Json) -> None:
        """Undefine it."""
        self.on(facts["host"]).undefine_domain(facts["uuid"])

    def external_id(self, result: Any) -> str | None:
        """Its uuid."""
        return str(result["uuid"])

    def execute(self, **inputs: Any) -> Any:
        """Keeps the XML at hand: three kilobytes that the ledger need not hold."""
        self.xml = inputs["xml"]
        return super().execute(**inputs)

    xml: str = ""


class StartDomain(EffectStep):
    """A running QEMU; the power machine hears of it here."""

    kind: ClassVar[str] = "guest"

    def facts(self, host: str, domain: Json) -> Json:
        """Where, and its uuid."""
        return {"host": host, "uuid": domain["uuid"]}

    def find(self, key: str, facts: Json) -> Json | None:
        """Ask the hypervisor."""
        domain = self.on(facts["host"]).find_domain(facts["uuid"])
        if domain is None:
            raise DriverError(
                f"the domain {facts['uuid']} has gone since it was defined", driver="compute"
            )
        return {"power_state": domain.power_state} if domain.active else None

    def create(self, key: str, facts: Json) -> Json:
        """Start it."""
        domain = self.on(facts["host"]).start_domain(facts["uuid"])
        return {"power_state": domain.power_state}

    def wait(self, key: str, facts: Json, result: Any) -> Any:
        """Tell the power machine."""
        self.run.report_power(result["power_state"], self.name)
        if result["power_state"] != power.RUNNING:
            raise GuestDied(f"the guest started as {power.NAMES[result['power_state']]}")
        return result

    def delete(self, key: str, facts: Json) -> None:
        """Destroy it, see that its QEMU is gone, and tell the power machine."""
        compute = self.on(facts["host"])
        compute.destroy_domain(facts["uuid"])
        self.run.report_power(power.NOSTATE, self.name)

    def exists(self, key: str, facts: Json) -> bool:
        """Once it has been built its power is its owner's: one that is off is not lost."""
        return self.on(facts["host"]).find_domain(facts["uuid"]) is not None

    def external_id(self, result: Any) -> str | None:
        """The domain's uuid."""
        return self.run.id


class ReleaseSecrets(Step):
    """QEMU has read its secrets: they go."""

    no_undo: ClassVar[str] = "it only removes; a secret has its own undo"

    def __init__(self, name: str, secrets: list[str], **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self.secrets = secrets

    def perform(self, guest: Json) -> None:
        """Undo the secrets' steps; one that can't be removed fails the build."""
        gone = [self.run.undo_step(self.run.steps[secret]) for secret in self.secrets]
        if not all(gone):
            raise DriverError("a secret could not be removed once QEMU had read it")
