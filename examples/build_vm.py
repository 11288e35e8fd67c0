"""A virtual machine from Python, with no daemon and no privilege: the hypervisor is embedded.

    python examples/build_vm.py IMAGE [HOME]

Prints what happens step by step, where the machine can be reached, and removes it again.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import buildflow


def main(image: Path, home: Path) -> int:
    """Build, show, delete; returns 0 when all went well."""
    with buildflow.open(home, listener=tell) as engine:
        handle = engine.build(
            name="web",
            image=str(image),
            memory_mib=96,
            wait="console:BUILDFLOW-GUEST-READY",
            timeout_s=120,
        )
        # here a program would do something else; `handle.cancel()` would stop and roll back
        machine = handle.wait()
        if machine["status"] != "complete":
            print(f"it failed in {machine['fault']['step']}: {machine['fault']['message']}")
            print(f"left behind: {machine['residue'] or 'nothing'}")
            return 1
        for vif in machine["network_info"]:
            print(f"it is {machine['vm_state']} at {vif['address']} on {vif['network']['label']}")
        print(f"its id is {machine['id']}")
        gone = engine.delete("web").wait()
        print(f"it is {gone['vm_state']}; left behind: {gone['residue'] or 'nothing'}")
        return 0 if not gone["residue"] else 3


def tell(event: buildflow.StepEvent) -> None:
    """Called by the engine for each thing that happens; must be quick."""
    if event.state in ("SUCCESS", "FAILURE", "REVERTED"):
        print(f"  {event.label}: {event.state.lower()} {event.error or ''}".rstrip(), flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("give an image: python examples/build_vm.py guest.qcow2")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # as root QEMU runs as another user, who must come in
        sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else folder)))
