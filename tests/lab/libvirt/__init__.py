"""A libvirtd of the tests' own, and what else keeps libvirt quick and harmless in tests."""

from tests.lab.libvirt.private import LabNetwork, PrivateLibvirtd
from tests.lab.libvirt.subreaper import become_subreaper

__all__ = ["LabNetwork", "PrivateLibvirtd", "become_subreaper"]
