"""A real OpenStack for tests: Keystone, Cinder, Neutron, Glance and an iSCSI target on loopback."""

from tests.lab.openstack.faults import Fault, Faults, SeenRequest
from tests.lab.openstack.lab import NETWORK, OpenStackLab
from tests.lab.openstack.tgt import Session, Target, Tgt

__all__ = [
    "NETWORK",
    "Fault",
    "Faults",
    "OpenStackLab",
    "SeenRequest",
    "Session",
    "Target",
    "Tgt",
]
