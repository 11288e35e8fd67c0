"""A program for tests: one life of a guest in a process of its own, step by step.

    [CONNECT=URI] python one_life.py HOME IMAGE [--user NAME] STEP...

Steps: open, make, start, boot, crash (die here, at once), remove. What happens is said on stdout,
a JSON line a step. With --user the process first gives up all privileges for good.
"""

import importlib
import json
import os
import pkgutil
import pwd
import signal
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from tests.lab.guest import MARKER, whole_line

# one for each process that runs tests; its programs inherit it
UUID = os.environ.setdefault("LIFE_UUID", str(uuid.uuid4()))


def say(**facts: Any) -> None:
    """One line."""
    print(json.dumps(facts), flush=True)


def drop_privileges(name: str, home: Path) -> None:
    """Become `name` and nobody else, with `home` as the place for files.

    Everything is imported first, for the interpreter may lie where only root may go.
    """
    from buildflow.drivers.libvirt import binding

    binding.load(home / "libvirt.log")
    for package in ("buildflow.drivers", "buildflow.drivers.libvirt", "buildflow.drivers.files"):
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
            if not module.ispkg:
                importlib.import_module(f"{package}.{module.name}")
    entry = pwd.getpwnam(name)
    for path in (home, *home.rglob("*")):
        os.chown(path, entry.pw_uid, entry.pw_gid)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.environ["HOME"] = str(home)
    for variable in ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        os.environ.pop(variable, None)
    os.chdir(home)


def main(arguments: list[str]) -> None:
    """Live."""
    home, image, *steps = arguments
    if steps[0] == "--user":
        drop_privileges(steps[1], Path(home))
        steps = steps[2:]

    from buildflow.config import Settings
    from buildflow.drivers.protocols import GuestSpec, PortRequest
    from buildflow.drivers.registry import open_driver

    settings = Settings(
        home=Path(home),
        connect=os.environ.get("CONNECT"),
        hypervisor_wait_s=float(os.environ.get("WAIT_S", "1")),
    )
    driver = open_driver("compute", settings, lambda message: say(told=message))
    networks = open_driver("network", settings)
    for step in steps:
        facts: dict[str, Any] = {}
        if step == "open":
            driver.check()
        elif step == "make":
            directory = driver.create_directory(UUID)
            found = open_driver("image", settings).fetch(image, time.sleep)
            disk = driver.create_disk(UUID, directory, found, None)
            port = networks.create_port(UUID, UUID, "life", PortRequest("user"))
            spec = GuestSpec(
                uuid=UUID,
                name="life",
                memory_mib=96,
                vcpus=1,
                virt_type="qemu",
                directory=directory,
                root_disk=disk,
                root_disk_format="qcow2",
                network_info=[port],
                block_device_info={"root_device_name": "/dev/vda", "block_device_mapping": []},
            )
            driver.validate(spec)
            driver.define_domain(UUID, driver.to_xml(spec))
        elif step == "start":
            driver.start_domain(UUID)
        elif step == "find":
            domain = driver.find_domain(UUID)
            facts = {"active": domain is not None and domain.active}
        elif step == "boot":
            text, offset = b"", 0
            while whole_line(text.decode(errors="replace"), MARKER) is None:
                data, offset = driver.console(UUID, offset)
                text += data
                time.sleep(0.05)
            facts = {"ip": b"10.0.2.15" in text, "uuid": UUID.encode() in text}
        elif step == "crash":
            say(step=step)
            os.kill(os.getpid(), signal.SIGKILL)
        elif step == "wait":
            say(step=step)
            sys.stdin.read()
        elif step == "remove":
            driver.destroy_domain(UUID)
            driver.undefine_domain(UUID)
            driver.delete_disk(UUID, str(settings.instances_path / UUID))
            driver.delete_directory(UUID)
            networks.delete_port(UUID, {"network": {"id": "user"}})
            things = [t for d in (driver, networks) for t in d.inventory()]
            facts = {"left": [t.kind for t in things if t.kind != "process"]}
        say(step=step, uid=os.geteuid(), **facts)


if __name__ == "__main__":
    from buildflow.errors import BuildflowError

    try:
        main(sys.argv[1:])
    except BuildflowError as error:
        say(error=type(error).__name__, exit_code=error.exit_code, text=str(error))
        sys.exit(error.exit_code)
