"""A world outside that is simulated: drivers with real semantics that cost microseconds.

`SimulatedWorld` is what exists outside, in memory or in a file that several processes share; the
four drivers act on it with the error classes and codes of libvirt, Neutron, Cinder and Glance.
"""

from buildflow.drivers.simulated.compute import SimulatedCompute
from buildflow.drivers.simulated.factory import (
    all_drivers,
    compute,
    computes,
    drivers_of,
    image,
    make_world,
    network,
    volume,
)
from buildflow.drivers.simulated.image import SimulatedImage
from buildflow.drivers.simulated.names import SECRET_MARK
from buildflow.drivers.simulated.network import SimulatedNetwork
from buildflow.drivers.simulated.options import (
    BOOTS,
    CRASHES,
    PAUSES,
    POWERS_OFF,
    SILENT,
    Capacity,
    WorldOptions,
)
from buildflow.drivers.simulated.volume import SimulatedVolume
from buildflow.drivers.simulated.world import Operation, SimulatedWorld

__all__ = [
    "BOOTS",
    "CRASHES",
    "PAUSES",
    "POWERS_OFF",
    "SECRET_MARK",
    "SILENT",
    "Capacity",
    "Operation",
    "SimulatedCompute",
    "SimulatedImage",
    "SimulatedNetwork",
    "SimulatedVolume",
    "SimulatedWorld",
    "WorldOptions",
    "all_drivers",
    "compute",
    "computes",
    "drivers_of",
    "image",
    "make_world",
    "network",
    "volume",
]
