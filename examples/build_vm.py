"""Build a virtual machine from Python, wait for it to boot, and delete it again.

    .venv/bin/python examples/build_vm.py IMAGE [HOME]

The engine is embedded: no daemon, no root. Kill this program at any moment and `buildflow resume`
(with the same home) ends the build complete, or gone with nothing left.
"""

from __future__ import annotations

import sys
from pathlib import Path

import buildflow


def main(image: str, home: str) -> int:
    """Build, show, delete; 0 when both went well."""
    with buildflow.open(home, listener=show) as engine:
        handle = engine.build(
            name="example",
            image=str(Path(image).absolute()),
            memory_mib=96,
            wait="console:BUILDFLOW-GUEST-READY",
            request_id="example-1",  # asked for again, it is the same machine
        )
        vm = handle.wait()
        if vm["status"] != "complete":
            print(f"failed: {vm['fault']['message']}; left: {vm['residue'] or 'nothing'}")
            return 1
        address = vm["network_info"][0]["network"]["subnets"][0]["ips"][0]["address"]
        print(f"{vm['name']} is {vm['vm_state']} as {vm['id']}, address {address}")
        gone = engine.delete(vm["id"]).wait()
        print(f"{gone['name']} is {gone['vm_state']}, left: {gone['residue'] or 'nothing'}")
        return 0


def show(event: buildflow.StepEvent) -> None:
    """One line a step, as it happens."""
    print(f"  {event.at}  {event.label}: {event.state}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "/tmp/buildflow-example"))
