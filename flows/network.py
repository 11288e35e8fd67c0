"""Ports: made, bound to the host, plugged, and waited for (nova/network/neutron.py)."""

from __future__ import annotations

from typing import Any, ClassVar

from buildflow.drivers.protocols import Json, PortRequest
from buildflow.engine.step import Step
from buildflow.errors import DeadlineExceeded
from buildflow.flows.steps import EffectStep


class CreatePort(EffectStep):
    """One port of the instance. Provides its network_info entry, unbound."""

    kind: ClassVar[str] = "port"

    def __init__(self, name: str, request: Json, hostname: str, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self.request, self.hostname = request, hostname

    def facts(self, host: str) -> Json:
        """Which port, for which instance."""
        return {"request": self.request, "instance": self.run.id, "hostname": self.hostname}

    def find(self, key: str, facts: Json) -> Json | None:
        """By its tag."""
        return self.world.network.find_port(key, PortRequest(**facts["request"]))

    def create(self, key: str, facts: Json) -> Json:
        """With its tag."""
        return self.world.network.create_port(
            key, facts["instance"], facts["hostname"], PortRequest(**facts["request"])
        )

    def delete(self, key: str, facts: Json) -> None:
        """Find it by its tag, delete it, see it gone; a user's own is let go."""
        port = self.world.network.find_port(key, PortRequest(**facts["request"]))
        if port is not None:
            self.world.network.delete_port(key, port)

    def external_id(self, result: Any) -> str | None:
        """The port's id."""
        return str(result["id"])


class BindPort(EffectStep):
    """The port bound to the host of this attempt. Provides the entry as bound."""

    kind: ClassVar[str] = "binding"

    def facts(self, port: Json, host: str) -> Json:
        """Which port, and where."""
        return {"port": port, "host": host}

    def find(self, key: str, facts: Json) -> Json | None:
        """Ask the service where the port is bound."""
        return self.world.network.find_binding(key, facts["port"], facts["host"])

    def create(self, key: str, facts: Json) -> Json:
        """Bind it."""
        return self.world.network.bind_port(key, facts["port"], facts["host"])

    def delete(self, key: str, facts: Json) -> None:
        """Take the binding back."""
        self.world.network.unbind_port(key, facts["port"], facts["host"])

    def external_id(self, result: Any) -> str | None:
        """The port's id."""
        return str(result["id"])


class NetworkInfo(Step):
    """Gathers what the ports gave. Provides `network_info`."""

    no_undo: ClassVar[str] = "it only gathers; each port has its own undo"

    def __init__(self, name: str, ports: int, **kwargs: Any) -> None:
        vifs = [f"vif_{index}" for index in range(ports)]
        super().__init__(name, provides="network_info", collect=vifs, **kwargs)

    def perform(self, **vifs: Json) -> list[Json]:
        """In the order in which they were asked for."""
        info = [vifs[f"vif_{index}"] for index in range(len(vifs))]
        self.run.set_info(network_info=info)
        return info


class PlugVif(EffectStep):
    """One port made visible on the host, where the hypervisor does not do that by itself."""

    kind: ClassVar[str] = "vif"

    def __init__(self, name: str, index: int, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self.index = index

    def facts(self, host: str, network_info: list[Json]) -> Json:
        """Which port, and where."""
        return {"host": host, "vif": network_info[self.index]}

    def find(self, key: str, facts: Json) -> Json | None:
        """Ask the host."""
        plugged = self.on(facts["host"]).find_vif(facts["vif"])
        return {"vif": facts["vif"]["id"]} if plugged else None

    def create(self, key: str, facts: Json) -> Json:
        """Plug it, unless the hypervisor does so itself when the guest starts."""
        self.on(facts["host"]).plug_vif(facts["vif"])
        return self.find(key, facts) or {"vif": None}

    def external_id(self, result: Any) -> str | None:
        """The port's id, by which the host knows what was plugged; None when nothing was."""
        return None if result["vif"] is None else str(result["vif"])

    def delete(self, key: str, facts: Json) -> None:
        """Unplug it."""
        self.on(facts["host"]).unplug_vif(facts["vif"])

    def exists(self, key: str, facts: Json) -> bool:
        """Most are plugged by the hypervisor when a guest starts, and unplugged when it stops."""
        return True


class WaitForVifs(Step):
    """Waits until the network service calls every port ACTIVE (nova: vif_plugging_timeout)."""

    no_undo: ClassVar[str] = "it only waits"

    def perform(self, network_info: list[Json]) -> None:
        """Fatal at the deadline or not, as `vif_plugging_is_fatal` says."""
        settings = self.run.settings
        clock = self.run.clock
        end = clock.monotonic() + settings.vif_plugging_timeout_s
        for port in network_info:
            while not self.world.network.port_active(port):
                if clock.monotonic() >= end:
                    if settings.vif_plugging_is_fatal:
                        raise DeadlineExceeded(
                            f"port {port['id']} ACTIVE", settings.vif_plugging_timeout_s,
                            driver="network",
                        )  # fmt: skip
                    return
                self.pause(0.25)
