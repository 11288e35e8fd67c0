"""The shapes of the build flow that `verify` walks, and the delete of each."""

from __future__ import annotations

from typing import Any

from buildflow.flows.build import build_flow
from buildflow.flows.delete import delete_flow

_ID = "00000000-0000-4000-8000-00000000000a"
_SHAPES: dict[str, dict[str, Any]] = {
    "image": {"image": "image"},
    "image, no NIC": {"image": "image", "no_network": True},
    "image, 1 NIC, 2 volumes": {"image": "image", "volumes": [{"id": _ID}, {"size": 1}]},
    "image, 3 NICs": {"image": "image", "networks": [{}, {}, {}]},
    "volume": {"boot_volume": {"id": _ID}},
    "volume made from an image": {
        "boot_volume": {"size": 1, "image_id": _ID, "delete_on_termination": True}
    },
    "image, 2 hosts": {"image": "image", "volumes": [{"id": _ID}], "hosts": ["a", "b"]},
}


def shapes() -> dict[str, Any]:
    """A flow for each, by what it builds or deletes."""
    flows = {f"build: {name}": build_flow(**inputs) for name, inputs in _SHAPES.items()}
    flows |= {f"delete: {name}": delete_flow(**inputs) for name, inputs in _SHAPES.items()}
    return flows
