"""`python -m tests.lab.openstack setup|up|down|show`: the lab by hand, left up between commands."""

import argparse
import os
import shutil
import sys
from pathlib import Path

from tests.lab.directories import CACHE
from tests.lab.guest import make
from tests.lab.openstack.environment import ensure_environment
from tests.lab.openstack.lab import NETWORK, OpenStackLab
from tests.lab.openstack.schema import ensure_template
from tests.lab.process import LabError

DIRECTORY = CACHE / "lab"
BASE_PORT = 18000


def main() -> int:
    """Do one of the four and return an exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.openstack", description=__doc__)
    parser.add_argument("action", choices=["setup", "up", "down", "show"])
    parser.add_argument("--dir", type=Path, default=DIRECTORY, help="where the lab's files are")
    parser.add_argument("--port", type=int, default=BASE_PORT, help="first of its twenty ports")
    parser.add_argument("--bridge", default="br-lab", help="the bridge that carries its network")
    options = parser.parse_args()
    try:
        if options.action == "setup":
            ensure_environment()
            ensure_template()
        elif options.action == "up":
            _up(options.dir, options.port, options.bridge)
        elif options.action == "down":
            OpenStackLab.attach(options.dir).stop()
            shutil.rmtree(options.dir)
        else:
            _show(OpenStackLab.attach(options.dir))
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _up(directory: Path, port: int, bridge: str) -> None:
    try:
        lab = OpenStackLab.attach(directory)
    except LabError:
        pass
    else:
        if lab.alive:
            _show(lab)
            return
        lab.stop()  # what is left of one that half died
    shutil.rmtree(directory, ignore_errors=True)
    print(f"OpenStack: starting in {directory} (about ten seconds)", flush=True)
    lab = OpenStackLab(directory, port, bridge=bridge, lasting=True)
    lab.start()
    if os.geteuid() == 0 and not lab.bridge.exists:
        lab.start_bridge()
    lab.upload_image("guest", make(CACHE / "guest").qcow2)
    _show(lab)


def _show(lab: OpenStackLab) -> None:
    print("OpenStack is up. To talk to it:\n")
    variables = {**lab.env, "BUILDFLOW_OS_SERVICE_CLOUD": "labsvc"}
    print("  export " + " ".join(f"{name}={value}" for name, value in variables.items()))
    bridge = f"on bridge {lab.bridge.name}" if lab.bridge.server.alive else "without a bridge"
    print(f"\nclouds: lab (tenant), labadmin, labsvc (service role); network {NETWORK},")
    print(f"{lab.subnet} {bridge}; tgtd: TGT_IPC_SOCKET={lab.tgt.socket} tgtadm ...")
    print("image `guest`, which boots. To end it: make lab-down")


if __name__ == "__main__":
    sys.exit(main())
