"""A small real OpenStack on loopback: Keystone, Cinder, Neutron, Glance and tgtd.

SQLite for databases, no broker, no LVM, no kernel module. Several can run at once.
"""

import base64
import ipaddress
import json
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.lab.libvirt.private import free_subnet
from tests.lab.openstack import api
from tests.lab.openstack.bridge import LabBridge
from tests.lab.openstack.configuration import SERVICES, TOKEN_CACHE_SECONDS, Ports, write_all
from tests.lab.openstack.environment import SERVER_FILES, ensure_environment
from tests.lab.openstack.faults import Faults
from tests.lab.openstack.schema import install_databases, server_environment
from tests.lab.openstack.tgt import Tgt
from tests.lab.ports import answers, free_block
from tests.lab.process import LabError, ProcessId, Server

NETWORK = "lab-net"
_PORTS_USED = 20
_STATE = "lab.json"
_UWSGI_MODULES = {
    "keystone": "keystone.wsgi.api:application",
    "neutron": "neutron.wsgi.api:application",
    "glance": "glance.wsgi.api:application",
}


class OpenStackLab:
    """One lab in one directory. `stop()` ends everything; the directory stays for its logs.

    Its network `lab-net` exists in Neutron from the start; `start_bridge()` makes it real.
    """

    def __init__(
        self,
        directory: Path,
        base_port: int | None = None,
        *,
        token_seconds: int = 86400,
        bridge: str = "br-lab",
        lasting: bool = False,
    ) -> None:
        """Plan a lab on twenty ports from `base_port`, or on some that are free.

        It dies with the thread that starts it unless it is `lasting`.
        """
        self.directory = directory.resolve()
        self.ports = Ports(free_block(_PORTS_USED) if base_port is None else base_port)
        self.subnet = free_subnet()
        self.clouds_yaml = self.directory / "clouds.yaml"
        self.faults = Faults(self.ports.control)
        self._token_seconds = token_seconds
        self._lasting = lasting
        self._bridge_name = bridge
        self._limited: set[str] = set()
        self._plan()

    @classmethod
    def attach(cls, directory: Path) -> "OpenStackLab":
        """The lab that was started in this directory by another process."""
        try:
            state = json.loads((directory / _STATE).read_text())
        except FileNotFoundError:
            raise LabError(f"there is no lab in {directory}") from None
        lab = cls(directory, state["base_port"], bridge=state["bridge"], lasting=True)
        lab.subnet = ipaddress.IPv4Network(state["subnet"])
        lab._plan()
        for server in lab._all():
            if server.name in state["processes"]:
                server.running_as = ProcessId(*state["processes"][server.name])
        return lab

    @property
    def env(self) -> dict[str, str]:
        """What a client needs in its environment to find this lab as a plain tenant."""
        return {"OS_CLIENT_CONFIG_FILE": str(self.clouds_yaml), "OS_CLOUD": "lab"}

    @property
    def alive(self) -> bool:
        """Whether every part of it runs."""
        return all(server.alive for server in self._all() if server is not self.bridge.server)

    def start(self) -> None:
        """Start everything and wait until every service has answered a real request."""
        if any(answers(self.ports.base + offset) for offset in range(_PORTS_USED)):
            raise LabError(f"ports from {self.ports.base} on are in use: is a lab up already?")
        ensure_environment()
        install_databases(self.directory, self.ports)
        write_all(self.directory, self.ports, self._token_seconds)
        for name in ("glance/images", "glance/staging", "glance/tasks", "cinder/volumes"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        try:
            self.tgt.start()
            self._proxy.start()
            for server in self._services.values():
                server.start()
            self._save()
            self._proxy.wait_until(lambda: answers(self.ports.control))
            for service, server in self._services.items():
                server.wait_until(partial(answers, self.ports.direct(service)))
            self._warm()
            self._make_network()
            self.faults.forget()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End every process and remove the bridge; does nothing if nothing runs."""
        self.bridge.stop()
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda server: server.stop(), [*self._services.values(), self._proxy]))
        self.tgt.stop()
        (self.directory / _STATE).unlink(missing_ok=True)

    def start_bridge(self) -> None:
        """Make `lab-net` real on this host: bridge, gateway address, DHCP. Needs root."""
        self.bridge.start()
        self._save()

    def stop_service(self, service: str) -> None:
        """Take one of keystone, cinder, neutron and glance down."""
        self._services[service].stop()

    def kill_service(self, service: str) -> None:
        """Kill it where it stands."""
        self._services[service].kill9()

    def start_service(self, service: str) -> None:
        """Start it again; it has forgotten nothing but what it held in memory."""
        server = self._services[service]
        server.start()
        server.wait_until(lambda: answers(self.ports.direct(service)))
        self._save()

    def restore(self) -> None:
        """Disarm faults, lift quotas, and start again what was stopped or killed."""
        if not self.tgt.server.alive:
            self.tgt.start()
            self.stop_service("cinder")  # it exports its volumes again when it starts
        for service, server in self._services.items():
            if not server.alive:
                self.start_service(service)
        self.faults.clear()
        if self._limited:
            self.set_quota(**dict.fromkeys(self._limited, -1))
            self._limited.clear()

    def connect(self, cloud: str = "lab") -> Any:
        """An openstacksdk connection as `lab` (tenant), `labadmin` or `labsvc` (service role)."""
        import openstack

        loader = openstack.config.OpenStackConfig(
            config_files=[str(self.clouds_yaml)], load_envvars=False
        )
        return openstack.connection.Connection(config=loader.get_one(cloud))

    def expire_tokens(self) -> None:
        """Make every token that was ever issued invalid, as if its time had come."""
        for key in (self.directory / "keystone/fernet-keys").iterdir():
            key.write_bytes(base64.urlsafe_b64encode(secrets.token_bytes(32)))
        # Twice: a service may have asked Keystone just before Keystone's own memory ran out.
        time.sleep(2 * TOKEN_CACHE_SECONDS + 0.1)

    def set_quota(self, **limits: int) -> None:
        """Limit what the tenant may have in Neutron, for example `port=3`; -1 is no limit."""
        admin = api.login(self.ports, "buildadmin", "buildadminpw", "lab")
        tenant = api.login(self.ports, "builder", "builderpw", "lab")
        path = f"/v2.0/quotas/{tenant.project}"
        api.call(self.ports, "neutron", "PUT", path, admin, {"quota": limits})
        self._limited.update(limits)

    def upload_image(self, name: str, path: Path, disk_format: str = "qcow2") -> str:
        """Put a file into Glance and return the image's id."""
        tenant = api.login(self.ports, "builder", "builderpw", "lab")
        body = {"name": name, "disk_format": disk_format, "container_format": "bare"}
        image = api.call(self.ports, "glance", "POST", "/v2/images", tenant, body)
        file_path = f"/v2/images/{image['id']}/file"
        api.call(self.ports, "glance", "PUT", file_path, tenant, path.read_bytes())
        return str(image["id"])

    def _plan(self) -> None:
        """Describe every process."""
        environment = ensure_environment()
        common = {
            **server_environment(environment),
            "TGT_IPC_SOCKET": str(self.directory / "tgt/socket"),
            "BUILDFLOW_LAB_BRIDGE": self._bridge_name,
        }
        for name in (*SERVICES, "tgt", "proxy", "bridge"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        self.tgt = Tgt(self.directory / "tgt", self.ports.iscsi, self._lasting)
        self._services = {
            service: Server(
                service,
                self._command(service, environment),
                self.directory / service / "out.log",
                env={**common, **self._config_environment(service)},
                lasting=self._lasting,
            )
            for service in SERVICES
        }
        self._proxy = api.project_python_server(
            "proxy",
            "tests.lab.openstack.fault_proxy",
            [str(self.ports.base)],
            self.directory / "proxy/out.log",
            self._lasting,
        )
        self.bridge = LabBridge(
            self._bridge_name,
            self.subnet,
            self.directory / "neutron/neutron.sqlite",
            self.directory / "bridge/dhcp.log",
            self._lasting,
        )

    def _command(self, service: str, environment: Path) -> list[str]:
        if service == "cinder":
            program = str(SERVER_FILES / "cinder_all.py")
            config = str(self.directory / "cinder/cinder.conf")
            return [str(environment / "bin/python"), program, "--config-file", config]
        return [
            str(environment / "bin/uwsgi"),
            *("--http-socket", f"127.0.0.1:{self.ports.direct(service)}"),
            *("--add-header", "Connection: close"),
            *("--module", _UWSGI_MODULES[service]),
            # SQLite has one writer: more threads would only meet at its lock.
            *("--processes", "1", "--threads", "4" if service == "glance" else "1"),
            *("--enable-threads", "--lazy-apps", "--need-app", "--die-on-term"),
            *("--home", str(environment), "--buffer-size", "65535", "--disable-logging"),
        ]

    def _config_environment(self, service: str) -> dict[str, str]:
        directory = self.directory / service
        return {
            "keystone": {"OS_KEYSTONE_CONFIG_FILES": f"{directory}/keystone.conf"},
            "cinder": {},
            "neutron": {
                "OS_NEUTRON_CONFIG_DIR": str(directory),
                "OS_NEUTRON_CONFIG_FILES": "neutron.conf",
            },
            "glance": {
                "OS_GLANCE_CONFIG_DIR": str(directory),
                "OS_GLANCE_CONFIG_FILES": "glance-api.conf",
            },
        }[service]

    def _warm(self) -> None:
        """Make the first request of each service, which loads half of its code."""
        tenant = api.login(self.ports, "builder", "builderpw", "lab")

        def first(target: tuple[str, str]) -> None:
            service, path = target
            deadline = time.monotonic() + 60
            while True:
                try:
                    api.call(self.ports, service, "GET", path, tenant)
                    return
                except api.CallError as error:
                    if time.monotonic() > deadline or not self._services[service].alive:
                        lines = self._services[service].last_lines()
                        raise LabError(f"{service} does not work: {error}\n{lines}") from error
                    time.sleep(0.1)

        targets = [
            ("cinder", f"/v3/{tenant.project}/volumes"),
            ("neutron", "/v2.0/networks"),
            ("glance", "/v2/images"),
        ]
        with ThreadPoolExecutor() as pool:
            list(pool.map(first, targets))

    def _make_network(self) -> None:
        tenant = api.login(self.ports, "builder", "builderpw", "lab")
        network = api.call(
            self.ports, "neutron", "POST", "/v2.0/networks", tenant, {"network": {"name": NETWORK}}
        )["network"]
        subnet = {
            "network_id": network["id"],
            "name": f"{NETWORK}-subnet",
            "ip_version": 4,
            "cidr": str(self.subnet),
            "gateway_ip": str(self.subnet[1]),
        }
        api.call(self.ports, "neutron", "POST", "/v2.0/subnets", tenant, {"subnet": subnet})

    def _all(self) -> list[Server]:
        return [self.tgt.server, self._proxy, *self._services.values(), self.bridge.server]

    def _save(self) -> None:
        """Write down what runs, for `attach`."""
        processes = {
            server.name: [server.running_as.pid, server.running_as.started]
            for server in self._all()
            if server.running_as is not None
        }
        state = {
            "base_port": self.ports.base,
            "bridge": self._bridge_name,
            "subnet": str(self.subnet),
            "processes": processes,
        }
        written = self.directory / f"{_STATE}.new"
        written.write_text(json.dumps(state, indent=2))
        written.replace(self.directory / _STATE)

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()
