"""The services' databases as they are on the first day, made once and copied for each lab."""

import fcntl
import hashlib
import os
import shutil
import sqlite3
import subprocess
import time
from pathlib import Path

from tests.lab.directories import CACHE
from tests.lab.openstack.configuration import SERVICES, Ports, write_all
from tests.lab.openstack.environment import SERVER_FILES, ensure_environment
from tests.lab.process import LabError

_TEMPLATE_PORTS = Ports(1)  # stands in the catalog until a lab has its own


def install_databases(lab: Path, ports: Ports) -> None:
    """Give a new lab its databases and keys, its own addresses in the catalog."""
    template = ensure_template()
    for service in SERVICES:
        shutil.copytree(template / service, lab / service, dirs_exist_ok=True)
    database = sqlite3.connect(lab / "keystone/keystone.sqlite")
    with database:
        for service in SERVICES:
            # The last slash or digit decides: port 1 is the beginning of port 12.
            old = f"{_TEMPLATE_PORTS.front_url(service)}/"
            database.execute(
                "UPDATE endpoint SET url = replace(url || '/', ?, ?)",
                (old, f"{ports.front_url(service)}/"),
            )
            database.execute("UPDATE endpoint SET url = rtrim(url, '/')")
    database.close()


def server_environment(environment: Path) -> dict[str, str]:
    """What every process of the services' needs to find its modules."""
    return {
        "PATH": f"{environment}/bin:{os.environ['PATH']}:/usr/sbin:/sbin",
        "PYTHONPATH": str(SERVER_FILES),
        "PYTHONWARNINGS": "ignore",
    }


def ensure_template() -> Path:
    """Return the folder with every service's first database, making it if it is out of date."""
    environment = ensure_environment()
    digest = hashlib.sha256()
    for path in sorted([*SERVER_FILES.glob("*.py"), Path(__file__), *environment.glob("ready-*")]):
        digest.update(path.name.encode() + path.read_bytes())
    digest.update(Path(__file__).with_name("configuration.py").read_bytes())
    template = CACHE / f"openstack-databases/{digest.hexdigest()[:16]}"
    template.parent.mkdir(parents=True, exist_ok=True)
    with (template.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if template.exists():
            return template
        for old in template.parent.iterdir():
            if old.is_dir():
                shutil.rmtree(old)
        began = time.monotonic()
        print("OpenStack: making the databases", flush=True)
        making = template.with_suffix(".making")
        _make(making, environment)
        making.rename(template)
        print(f"OpenStack: databases made in {time.monotonic() - began:.1f} s", flush=True)
    return template


def _make(making: Path, environment: Path) -> None:
    write_all(making, _TEMPLATE_PORTS, token_seconds=86400)
    addresses = {
        f"CATALOG_{service.upper()}": _TEMPLATE_PORTS.front_url(service) for service in SERVICES
    }
    python = str(environment / "bin/python")
    commands = {
        "keystone": [
            python, str(SERVER_FILES / "keystone_setup.py"), str(making / "keystone/keystone.conf")
        ],
        "cinder": [
            "cinder-manage", "--config-file", str(making / "cinder/cinder.conf"), "db", "sync"
        ],
        "neutron": [
            python, str(SERVER_FILES / "neutron_schema.py"), str(making / "neutron/neutron.conf")
        ],
        "glance": [
            "glance-manage", "--config-file", str(making / "glance/glance-api.conf"), "db_sync"
        ],
    }  # fmt: skip
    running = {
        service: subprocess.Popen(
            command,
            env={**os.environ, **server_environment(environment), **addresses},
            stdout=(making / service / "schema.log").open("wb"),
            stderr=subprocess.STDOUT,
        )
        for service, command in commands.items()
    }
    failed = [service for service, process in running.items() if process.wait()]
    if failed:
        log = (making / failed[0] / "schema.log").read_text(errors="replace")
        raise LabError(f"the schema of {failed[0]} failed:\n{log[-2000:]}")
    for log_file in making.glob("*/*.log"):
        log_file.unlink()
